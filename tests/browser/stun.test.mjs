/** A direct call between two homes behind routers that translate addresses (NAT): each learns of its address outside by STUN, and there is no TURN. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { after } from 'node:test';
import { CHROMIUM, chromium } from './lib/browsers.mjs';
import { startCoturn, TURN_ADDRESS } from './lib/coturn.mjs';
import { captureSomething, hears, reaches, sees, stat } from './lib/direct.mjs';
import { home } from './lib/nat.mjs';
import { scene } from './lib/scene.mjs';
import { OUT } from './lib/server.mjs';
import { until } from './lib/until.mjs';

mkdirSync(OUT, { recursive: true });
writeFileSync(`${OUT}stun.toml`, `[[ice_servers]]\nurls = ["stun:${TURN_ADDRESS}"]\n`, { mode: 0o600 });

const homes = [];
let coturn;
const network = scene({ args: ['serve', '--config', `${OUT}stun.toml`] });
after(async () => {
  homes.forEach((home) => home.stop());
  await coturn?.stop();
});

network.test('two homes behind NAT call each other with STUN only', async () => {
  coturn = await startCoturn('only STUN is asked for');
  for (const number of [1, 2]) homes.push(await home(number, Number(new URL(network.server.url).port), CHROMIUM));
  const [ada, bob] = await Promise.all(
    homes.map(async ({ program }, index) => {
      const browser = await chromium(program);
      network.browsers.push(browser);
      return network.open(browser, `/direct?room=homes&name=P${index}&autostart=1`, { index, before: captureSomething });
    }),
  );
  for (const [one, other, from, to] of [[ada, bob, ...homes], [bob, ada, ...homes.toReversed()]]) {
    await reaches(one, 'connected');
    await sees(one, other);
    await hears(one, other);
    const chosen = await until('the chosen pair', async () => (await stat(one, 'connecting', 'Chosen pair')) || { error: 'not told yet' });
    const [local, remote] = chosen.split(' ↔ ');
    assert.match(local, /^(srflx|prflx) /, chosen);
    assert.ok(local.includes(from.outside) && remote.includes(to.outside), chosen);
    await one.screenshot(`stun-${one.name}`);
  }
  assert.doesNotMatch(coturn.log(), /ALLOCATE processed/);
});
