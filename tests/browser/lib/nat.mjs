/**
 * A home network of its own for a browser: its addresses mean nothing outside, and a router that translates them (NAT) is its only way out. Network
 * namespaces without names, which end with the processes that hold them; the one that the test runs in is the rest of the world.
 */
import { execFileSync, spawn } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { OUT } from './server.mjs';

/** A server that hands each connection on. Its text is run in homes as well. */
function carry(net, to) {
  return net.createServer((near) => {
    const far = net.connect(to);
    near.pipe(far).pipe(near);
    for (const end of [near, far]) end.on('error', () => [near, far].forEach((one) => one.destroy()));
  });
}

/** Runs in a home: takes connections to a port of loopback to the world outside. */
const FORWARD = `
  const [path, port] = process.argv.slice(1);
  process.stdin.resume().on('end', () => process.exit());
  (${carry})(require('node:net'), { path }).listen(Number(port), '127.0.0.1', () => console.log('ready'));
`;

const inside = (pid, ...command) => execFileSync('nsenter', ['-t', String(pid), '-n', ...command]);

/** A process that holds a new network namespace until its input ends, as it does with this process; resolves with its pid. */
async function hold(children) {
  const child = spawn('unshare', ['-n', 'sh', '-c', 'echo ready; exec cat'], { stdio: ['pipe', 'pipe', 'inherit'] });
  children.push(child);
  await new Promise((resolve, reject) => child.stdout.once('data', resolve).once('end', () => reject(new Error('no network namespace'))));
  return child.pid;
}

/**
 * @param {number} number 1 to 250: no two homes have the same
 * @param {number} port the server's on loopback, which the home has on its own loopback as well: the page's origin stays one that browsers trust
 * @param {string} program a browser's; the result has one that starts it in the home
 * @returns {Promise<{outside: string, program: string, stop: () => void}>} `outside`: the address of its router there
 */
export async function home(number, port, program) {
  const [address, gateway, outside, world] = [`10.${number}.0.2`, `10.${number}.0.1`, `10.98.${number}.2`, `10.98.${number}.1`];
  const children = [];
  const [house, router] = [await hold(children), await hold(children)];
  const [near, far] = [`h${number}`, `w${number}`];
  // World (far) - router (out); router (in) - house (near).
  execFileSync('ip', ['link', 'add', far, 'type', 'veth', 'peer', 'name', 'out', 'netns', String(router)]);
  execFileSync('ip', ['addr', 'add', `${world}/30`, 'dev', far]);
  execFileSync('ip', ['link', 'set', far, 'up']);
  inside(router, 'ip', 'link', 'add', 'in', 'type', 'veth', 'peer', 'name', near, 'netns', String(house));
  for (const [pid, name, at] of /** @type {const} */ ([[router, 'out', outside], [router, 'in', gateway], [house, near, address]])) {
    inside(pid, 'ip', 'addr', 'add', `${at}/${name === 'out' ? 30 : 24}`, 'dev', name);
    inside(pid, 'ip', 'link', 'set', name, 'up');
  }
  inside(router, 'ip', 'route', 'add', 'default', 'via', world);
  inside(house, 'ip', 'route', 'add', 'default', 'via', gateway);
  inside(house, 'ip', 'link', 'set', 'lo', 'up');
  const forward = 'echo 1 > /proc/sys/net/ipv4/ip_forward';
  execFileSync('sh', ['-c', forward]);
  inside(router, 'sh', '-c', forward);
  // What nobody asked for is dropped before the kernel remembers it, as routers do: else it holds the very port that the answer needs.
  const rules = 'chain out { type nat hook postrouting priority srcnat; oifname "out" masquerade; }; chain in { type filter hook input priority 0; iifname "out" ct state new drop; };';
  inside(router, 'nft', `table ip nat { ${rules} }`);

  const socket = `${OUT}home-${number}.sock`;
  rmSync(socket, { force: true });
  const relay = carry(net, { port, host: '127.0.0.1' });
  await new Promise((resolve) => relay.listen(socket, () => resolve(undefined)));
  const forwarder = spawn('nsenter', ['-t', String(house), '-n', process.execPath, '-e', FORWARD, socket, String(port)], { stdio: ['pipe', 'pipe', 'inherit'] });
  children.push(forwarder);
  await new Promise((resolve) => forwarder.stdout.once('data', resolve));
  const wrapper = `${OUT}home-${number}.sh`;
  writeFileSync(wrapper, `#!/bin/sh\nexec nsenter -t ${house} -n ${program} "$@"\n`, { mode: 0o755 });
  const stop = () => {
    relay.close();
    children.forEach((child) => child.kill('SIGKILL'));
  };
  return { outside, program: wrapper, stop };
}
