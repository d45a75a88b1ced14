/** A network that lets no UDP through: media goes over the TCP port of HTTP (ICE-TCP). */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before } from 'node:test';
import { scene } from './lib/scene.mjs';

const JOIN_MS_MAX = 5000;

// In the namespace of the test only.
before(() => {
  const rules = 'table inet no_udp { chain out { type filter hook output priority 0; meta l4proto udp counter drop; }; }';
  execFileSync('nft', [rules]);
});
after(() => execFileSync('nft', ['delete table inet no_udp']));

const blocked = scene();

/** The protocol of the pair that media uses, and the remote port. */
async function pathOf(person) {
  return person.page.evaluate(async () => {
    const report = [...(await window.switchyard.room.peerConnection.getStats()).values()];
    const pair = report.find(({ type, nominated, state }) => type === 'candidate-pair' && nominated && state === 'succeeded');
    const remote = report.find(({ id }) => id === pair?.remoteCandidateId);
    return { protocol: remote?.protocol, port: remote?.port };
  });
}

for (const kind of /** @type {const} */ (['chromium', 'firefox'])) {
  blocked.test(`${kind} sees a picture within 5 s where UDP is dropped`, async (t) => {
    const [one, other] = [await blocked.browser('chromium'), await blocked.browser(kind)];
    const ada = await blocked.join(one, kind, 0);
    const bob = await blocked.join(other, kind, 1);
    await bob.sees(ada);
    await ada.sees(bob);
    await bob.hears(ada);
    const ms = await bob.firstFrameMs();
    t.diagnostic(`without UDP, from join to the first decoded frame in ${kind}: ${ms} ms`);
    assert.deepEqual(await pathOf(bob), { protocol: 'tcp', port: 8080 });
    assert.ok(ms < JOIN_MS_MAX, `the first frame took ${ms} ms`);
    await Promise.all([one.close(), other.close()]);
  });
}
