/** What the operator's page makes of the server's counters; no browser takes part. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labelsOf, parseMetrics, rate, sum } from '../../web-demo/metrics.js';

const text = (dropped) => `# HELP switchyard_rooms Rooms.
# TYPE switchyard_rooms gauge
switchyard_rooms 2
switchyard_dropped_packets_total{worker="0",reason="a \\"b\\", c"} ${dropped}
switchyard_dropped_packets_total{worker="1",reason="unknown"} 5
switchyard_odd{worker="0"} NaN
# EOF
`;
const moments = (...list) => list.map(([at, dropped]) => ({ at, metrics: parseMetrics(text(dropped)) }));

test('names, labels and sums are read', () => {
  const metrics = parseMetrics(text(7));
  assert.equal(sum(metrics, 'switchyard_rooms'), 2);
  assert.equal(sum(metrics, 'switchyard_dropped_packets_total'), 12);
  assert.equal(sum(metrics, 'switchyard_dropped_packets_total', { worker: '1' }), 5);
  assert.deepEqual(labelsOf(metrics, 'switchyard_dropped_packets_total', 'reason'), ['a \\"b\\", c', 'unknown']);
  assert.equal(sum(metrics, 'switchyard_odd'), null);
  assert.equal(sum(metrics, 'switchyard_none'), null);
});

test('a rate spans seconds, and there is none across a restart', () => {
  const name = 'switchyard_dropped_packets_total';
  assert.equal(rate(moments([0, 10], [2000, 20]), name), null);
  assert.equal(rate(moments([0, 10], [2000, 20], [4000, 50]), name), 10);
  assert.equal(rate(moments([0, 10], [2000, 20], [4000, 50], [6000, 60]), name), 10);
  assert.equal(rate(moments([0, 10], [4000, 3]), name), null);
});
