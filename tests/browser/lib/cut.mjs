/** A way to the server's HTTP port that can be cut, as a proxy or a radio cell does: media does not come this way. */
import { connect, createServer } from 'node:net';
import { after } from 'node:test';

/** @type {Set<Cut>} */
const cuts = new Set();
after(() => cuts.forEach((cut) => cut.close()));

export class Cut {
  #server;
  #sockets = new Set();
  #down = false;
  url = '';

  /** @param {string} to the server's URL */
  static async start(to) {
    const cut = new Cut(new URL(to));
    cuts.add(cut);
    await new Promise((resolve) => cut.#server.listen(0, '127.0.0.1', resolve));
    cut.url = `http://127.0.0.1:${cut.#server.address().port}`;
    return cut;
  }

  constructor({ hostname, port }) {
    this.#server = createServer((near) => {
      if (this.#down) {
        near.destroy();
        return;
      }
      const far = connect(Number(port), hostname);
      for (const [one, other] of [[near, far], [far, near]]) {
        this.#sockets.add(one);
        one.pipe(other);
        one.on('error', () => other.destroy()).on('close', () => this.#sockets.delete(one) && other.destroy());
      }
    });
  }

  /** Everything that is open breaks, and nothing new is let through. */
  cut() {
    this.#down = true;
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  restore() {
    this.#down = false;
  }

  close() {
    this.cut();
    this.#server.close();
    cuts.delete(this);
  }
}
