// TAP for the client tests: ok(passed, name, what it said when not), and finish() at the end.
let count = 0, failed = 0;
export const ok = (passed, name, said) => {
  count++;
  if (!passed) failed++;
  console.log(`${passed ? 'ok' : 'not ok'} ${count} - ${name}`);
  if (!passed) console.log('# ' + JSON.stringify(said ?? null, (_, v) => v instanceof Error ? v.message : v).slice(0, 2000));
};
export const finish = () => {
  console.log(`1..${count}`);
  process.exit(failed > 0 ? 1 : 0);
};
