/** Join tokens, as an application's server makes them. */
import { createHmac } from 'node:crypto';

/**
 * @param {{id: string, secret: string}} key of the server's configuration file
 * @param {Record<string, unknown>} video what the token allows
 */
export function tokenOf({ id, secret }, video) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ iss: id, exp: Math.floor(Date.now() / 1000) + 600, video })}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}
