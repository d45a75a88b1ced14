/**
 * @module
 * Reads what the server counts (OpenMetrics text) and makes rates of it. Knows no page.
 */

/** @typedef {{labels: Record<string, string>, value: number}} Value */
/** @typedef {Map<string, Value[]>} Metrics by name */

/**
 * @typedef {object} Moment
 * @property {number} at milliseconds
 * @property {Metrics} metrics
 */

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;
/** Workers publish once a second, so a rate over less than a few seconds would be one of chance. */
const RATE_MS_MIN = 3500;

/** @param {string} text @returns {Metrics} */
export function parseMetrics(text) {
  /** @type {Metrics} */
  const metrics = new Map();
  for (const line of text.split('\n')) {
    const found = line.startsWith('#') ? null : LINE.exec(line);
    if (!found) continue;
    const [, name, labels = '', value] = found;
    const one = { labels: Object.fromEntries([...labels.matchAll(LABEL)].map(([, key, text]) => [key, text])), value: Number(value) };
    if (Number.isFinite(one.value)) metrics.set(name, [...(metrics.get(name) ?? []), one]);
  }
  return metrics;
}

/**
 * The sum of all values of a name that have these labels; null where there is none.
 * @param {Metrics} metrics
 * @param {string} name
 * @param {Record<string, string>} [labels]
 */
export function sum(metrics, name, labels = {}) {
  const found = (metrics.get(name) ?? []).filter((one) => Object.entries(labels).every(([key, value]) => one.labels[key] === value));
  return found.length > 0 ? found.reduce((total, { value }) => total + value, 0) : null;
}

/**
 * The values of a label, in their order.
 * @param {Metrics} metrics
 * @param {string} name
 * @param {string} label
 */
export function labelsOf(metrics, name, label) {
  return [...new Set((metrics.get(name) ?? []).map(({ labels }) => labels[label]))];
}

/**
 * How fast a counter grows, per second; null while that is not known, as after a restart of the server.
 * @param {Moment[]} moments the newest last
 * @param {string} name
 * @param {Record<string, string>} [labels]
 */
export function rate(moments, name, labels = {}) {
  const last = moments.at(-1);
  const first = moments.findLast(({ at }) => last !== undefined && at <= last.at - RATE_MS_MIN);
  if (!last || !first) return null;
  const [before, now] = [sum(first.metrics, name, labels), sum(last.metrics, name, labels)];
  if (before === null || now === null || now < before) return null;
  return ((now - before) * 1000) / (last.at - first.at);
}
