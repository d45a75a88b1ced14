/**
 * @module
 * A short sound, so that people hear which speaker plays the others' voices before they are asked whether they hear anything.
 */
import { Speaker } from './client/speaker.js';

/** Hertz, one after the other. */
const NOTES = [523, 659, 784];
const NOTE_S = 0.25;
const LOUD = 0.2;

/**
 * Rejects with an Error whose message is a plain sentence.
 * @param {string} id of an `audiooutput` device; empty: as the system has it
 */
export async function playTestSound(id) {
  const context = new AudioContext();
  const destination = context.createMediaStreamDestination();
  const player = document.createElement('audio');
  player.srcObject = destination.stream;
  const speaker = new Speaker();
  speaker.lead(player);
  try {
    if (id) await speaker.choose(id);
    await Promise.all([context.resume(), player.play()]);
    const volume = new GainNode(context, { gain: 0 });
    volume.connect(destination);
    for (const [index, frequency] of NOTES.entries()) {
      const at = context.currentTime + index * NOTE_S;
      const note = new OscillatorNode(context, { frequency });
      note.connect(volume);
      note.start(at);
      note.stop(at + NOTE_S);
      // Without steps, which would click.
      volume.gain.setTargetAtTime(LOUD, at, 0.01);
      volume.gain.setTargetAtTime(0, at + NOTE_S * 0.7, 0.02);
    }
    await new Promise((resolve) => setTimeout(resolve, NOTES.length * NOTE_S * 1000 + 200));
  } finally {
    player.srcObject = null;
    await context.close();
  }
}
