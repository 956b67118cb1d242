// Makes every transaction of a program that uses node-postgres a member's: node --require …/as-member.cjs program, with IMMIIQ_TOKEN set.
// The program itself stays as it is. Whatever begins a transaction is followed by the token, as a bind parameter.
const { createRequire } = require('node:module');
const { Client } = createRequire(require('node:fs').realpathSync(process.argv[1]))('pg');
const query = Client.prototype.query;

Client.prototype.query = function (text, ...args) {
  const result = query.call(this, text, ...args);
  if (typeof text !== 'string' || !/^\s*BEGIN\b/i.test(text) || typeof result?.then !== 'function') return result;
  return result.then(async (began) => {
    await query.call(this, "SELECT set_config('immiiq.token', $1, true)", [process.env.IMMIIQ_TOKEN]);
    return began;
  });
};
