/** Waiting with a deadline: the only way that these tests wait. */

/**
 * Asks until the answer is true (or an object without `error`), at most `deadlineMs`.
 * @template T
 * @param {string} what for the message when it does not come true
 * @param {() => Promise<T> | T} ask
 * @param {number} [deadlineMs] unless it is a goal, long enough for a machine that does something else
 * @returns {Promise<T>}
 */
export async function until(what, ask, deadlineMs = 60_000) {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const answer = await ask();
    // An error without words is one, too.
    if (answer && (typeof answer !== 'object' || answer.error === undefined)) return answer;
    if (performance.now() > end) {
      throw new Error(`waited ${deadlineMs / 1000} s for ${what}; last: ${JSON.stringify(answer)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
