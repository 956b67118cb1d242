// node-postgres, unmodified, on sealed columns of every type: parameters as JavaScript has them, named prepared statements, a pool whose
// connections serve two organisations in turn, cursors, and pg's own JSON and array encoding. Usage: node_postgres.mjs MODULES, the
// folder that npm installed into. Prints TAP.
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { finish, ok } from './tap.mjs';

const modules = createRequire(join(process.argv[2], 'package.json'));
const pg = modules('pg');
const Cursor = modules('pg-cursor');
const database = `regress_node_${process.pid}`;
const psql = (sql) => execFileSync('psql', ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d', database], { encoding: 'utf8', input: sql });

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

execFileSync('createdb', [database]);
let pool;
try {
  psql(`CREATE EXTENSION immiiq;
    SELECT immiiq.grant_application('regress_immiiq_app');
    CREATE TABLE person (org_id uuid NOT NULL DEFAULT immiiq.current_org(), id int, name enc_text(equality, fold), note enc_text(match), photo enc_bytea(sealed),
      big enc_int8(equality, range), fee enc_numeric(equality, range), born enc_date(equality, range), seen enc_timestamptz(range), doc enc_jsonb(contains),
      tags enc_text(9, equality)[], PRIMARY KEY (org_id, id), UNIQUE (org_id, name));
    SELECT immiiq.protect('person', NULL);
    GRANT ALL ON person TO regress_immiiq_app;`);
  const token = (name) => /iq_s_\w+/.exec(psql(`SELECT immiiq.create_org('${name}') AS org \\gset
    BEGIN; SELECT FROM immiiq.operate(:'org', 'test');
    INSERT INTO immiiq.member (member_id, email, name, scope, modules) VALUES (:'org', 'o@example', 'Owner', 'all', '{clients}');
    SELECT immiiq.issue_session(:'org'); COMMIT;`))[0];
  const alpha = token('Alpha'), beta = token('Beta');
  pool = new pg.Pool({ host: process.env.PGHOST, database, user: 'regress_immiiq_app', max: 2 });

  // One transaction of somebody; what the work returns, or the error it met.
  const as = async (who, work) => {
    const client = await pool.connect();
    try {
      await client.query('BEGIN');
      if (who) await client.query("SELECT set_config('immiiq.token', $1, true)", [who]);
      const result = await work(client);
      await client.query('COMMIT');
      return result;
    } catch (error) {
      await client.query('ROLLBACK');
      return error;
    } finally {
      client.release();
    }
  };
  const insert = { name: 'insert', text: 'INSERT INTO person (id, name, note, photo, big, fee, born, seen, doc, tags) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING *' };
  const person = (id) => [id, `José ${id}`, `lives at the harbour, house ${id}`, Buffer.from([0, 255, id]), `${9007199254740993n + BigInt(id)}`, `${id}.50`, `1964-08-${10 + id}`,
    new Date(Date.UTC(2024, 1, 29, 12, id)), { id, list: [null, 1.5, 'x'] }, [`a${id}`, 'b, "c"']];

  const stored = [];
  for (let id = 1; id <= 5; id++) stored.push(await as(alpha, (c) => c.query({ ...insert, values: person(id) })));
  const other = await as(beta, (c) => c.query({ ...insert, values: person(1) }));
  ok(stored.every((r) => r.rowCount === 1) && other.rowCount === 1, 'rows of two organisations are stored by one named statement', [stored.find((r) => !r.rows), other]);
  const row = stored[2].rows?.[0] ?? {};
  ok(row.name === 'José 3' && row.big === '9007199254740996' && row.fee === '3.50' && row.born === '1964-08-13', 'text and numbers come back as they were given', row);
  ok(row.photo === '\\x00ff03' && same(JSON.parse(row.doc ?? 'null'), person(3)[8]) && Date.parse(row.seen) === +person(3)[7] && row.tags === '{a3,"b, \\"c\\""}', 'bytes, documents, times and arrays come back as text', row);
  const plain = await as(alpha, (c) => c.query('SELECT photo::bytea, born::date, seen::timestamptz, doc::jsonb, tags::text[] FROM person WHERE id = $1', [3]));
  ok(plain.rows?.[0] && Buffer.compare(plain.rows[0].photo, person(3)[3]) === 0 && +plain.rows[0].seen === +person(3)[7] && same(plain.rows[0].doc, person(3)[8]) && same(plain.rows[0].tags, person(3)[9]),
    'and cast to the plain type as what pg makes of it', plain);

  const ids = async (who, text, values) => {
    const result = await as(who, (c) => c.query({ text, values, rowMode: 'array' }));
    return result.rows ? result.rows.flat() : result;
  };
  const searches = [
    ['equality of folded text', 'SELECT id FROM person WHERE name = $1', ['JOSE 2'], [2]],
    ['= ANY of an array', 'SELECT id FROM person WHERE name = ANY ($1) ORDER BY id', [['josé 1', 'jose 4', 'nobody']], [1, 4]],
    ['a bigint', 'SELECT id FROM person WHERE big = $1', [9007199254740995n], [2]],
    ['a range of numbers', 'SELECT id FROM person WHERE fee BETWEEN $1 AND $2 ORDER BY id', [2.5, '4.49'], [2, 3]],
    ['a range of dates', 'SELECT id FROM person WHERE born > $1 ORDER BY id', ['1964-08-13'], [4, 5]],
    ['a Date', 'SELECT id FROM person WHERE seen <= $1 ORDER BY id', [new Date(Date.UTC(2024, 1, 29, 12, 2))], [1, 2]],
    ['ILIKE', 'SELECT id FROM person WHERE note ILIKE $1', ['%HARBOUR, house 5'], [5]],
    ['containment', 'SELECT id FROM person WHERE doc @> $1', [{ id: 4 }], [4]],
    ['an element of an array', "SELECT id FROM person WHERE $1 = ANY (tags::text[])", ['a2'], [2]],
  ];
  for (const [name, text, values, expected] of searches) {
    const found = await ids(alpha, text, values);
    ok(same(found, expected), `found by ${name}`, found);
  }
  const interleaved = [];
  for (let i = 0; i < 12; i++) interleaved.push(as(i % 2 ? alpha : beta, (c) => c.query({ name: 'by_name', text: 'SELECT id, note FROM person WHERE name = $1', values: ['José 2'] })));
  const results = await Promise.all(interleaved);
  ok(results.every((r, i) => r.rowCount === i % 2 && (i % 2 === 0 || r.rows[0].note === person(2)[2])), 'one named statement, two organisations on the same connections: each finds its own', results.map((r) => r.rowCount ?? r));
  const twice = await as(alpha, (c) => c.query({ ...insert, values: person(6).with(1, 'jose 3') }));
  ok(twice.code === '23505' && !/jose/i.test(`${twice.message}${twice.detail}`), 'a second of what is unique is 23505, and the message does not tell it', [twice.code, twice.message, twice.detail]);
  const read = await as(alpha, async (c) => {
    const cursor = c.query(new Cursor('SELECT name FROM person WHERE born >= $1 ORDER BY id', ['1964-08-12']));
    const rows = [...await cursor.read(2), ...await cursor.read(2), ...await cursor.read(2)];
    await cursor.close();
    return rows.map((r) => r.name);
  });
  ok(same(read, ['José 2', 'José 3', 'José 4', 'José 5']), 'a cursor, two rows at a time', read);
  const updated = await as(alpha, (c) => c.query('UPDATE person SET doc = $1, fee = $2 WHERE name = $3 RETURNING doc::jsonb, fee', [{ new: true }, 1e3, 'José 5']));
  ok(same(updated.rows, [{ doc: { new: true }, fee: '1000' }]), 'an update', updated);
  const bad = await as(alpha, (c) => c.query('UPDATE person SET born = $1', ['rabbit']));
  ok(bad.code === '22007' && !/rabbit/.test(bad.message), 'what is no date is 22007, without the value', [bad.code, bad.message]);
  const nobody = await ids(null, 'SELECT id FROM person', []);
  ok(same(nobody, []), 'nobody sees nothing', nobody);
} finally {
  await pool?.end();
  execFileSync('dropdb', ['--force', database]);
}
finish();
