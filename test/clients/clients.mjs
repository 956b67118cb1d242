// PostGraphile and an MCP server for PostgreSQL, unmodified, on the database of the attack suite: two members of different scope get
// different rows from the same query and the same tool call, and what is known to break out of the latter's transaction gains nothing.
// Usage: clients.mjs MODULES, the folder that npm installed into. Prints TAP.
import { execFileSync } from 'node:child_process';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { finish, ok } from './tap.mjs';

const modules = createRequire(join(process.argv[2], 'package.json'));
const here = dirname(fileURLToPath(import.meta.url));
const database = `regress_clients_${process.pid}`;
const psql = (...args) => execFileSync('psql', ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d', database, ...args], { encoding: 'utf8', cwd: join(here, '../..') });

const canary = (said) => /CANARY|canary-\d|be7aca4a/.test(JSON.stringify(said ?? null));

execFileSync('createdb', [database]);
try {
  const values = Object.fromEntries(psql('-f', 'test/attack/setup.sql').split('\n').filter((line) => line.includes('=')).map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
  const connection = { host: process.env.PGHOST, database, user: 'regress_immiiq_app' };

  // ---- PostGraphile: the setting comes from pgSettings, as its manual has it
  const { postgraphile } = modules('postgraphile');
  const pool = new (modules('pg').Pool)(connection);
  const server = createServer(postgraphile(pool, 'public', {
    disableQueryLog: true,
    pgSettings: (request) => ({ 'immiiq.token': request.headers.authorization?.slice('Bearer '.length) ?? '' }),
  }));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const graphql = async (token, query) => (await (await fetch(`http://127.0.0.1:${server.address().port}/graphql`, {
    method: 'POST', headers: { 'content-type': 'application/json', ...(token ? { authorization: `Bearer ${token}` } : {}) }, body: JSON.stringify({ query }),
  })).json());
  const everything = '{ allClients { totalCount nodes { clientId note name email } } }';
  const owner = await graphql(values.alpha_owner_token, everything);
  const lead = await graphql(values.alpha_lead_token, everything);
  const nobody = await graphql(null, everything);
  const beta = await graphql(values.beta_owner_token, '{ allClients { totalCount } }');
  ok(owner.data?.allClients.totalCount === 40 && !canary(owner), 'PostGraphile: a member with scope all sees the organisation', owner);
  ok(lead.data?.allClients.totalCount === 20 && !/HIDDEN/.test(JSON.stringify(lead)), 'PostGraphile: the same query of a member with scope team sees the team', lead);
  ok(lead.data?.allClients.nodes.every((node) => node.name.startsWith('open name ')), 'PostGraphile: sealed columns are in clear for who owns them', lead);
  ok(nobody.data?.allClients.totalCount === 0, 'PostGraphile: nobody sees nothing', nobody);
  ok(beta.data?.allClients.totalCount === 7319, 'PostGraphile: another organisation sees its own', beta);
  const refused = await graphql(values.alpha_owner_token, `mutation { createClient(input: { client: { orgId: "${values.beta}", note: "planted" } }) { client { note } } }`);
  ok(refused.errors?.length > 0 && !canary(refused), 'PostGraphile: a row for another organisation is refused', refused);
  server.close();
  await pool.end();

  // ---- the MCP server
  const { Client } = await import(modules.resolve('@modelcontextprotocol/sdk/client/index.js'));
  const { StdioClientTransport } = await import(modules.resolve('@modelcontextprotocol/sdk/client/stdio.js'));
  const program = join(process.argv[2], 'node_modules/@modelcontextprotocol/server-postgres/dist/index.js');
  const call = async (token, sql) => {
    const client = new Client({ name: 'test', version: '1' }, { capabilities: {} });
    await client.connect(new StdioClientTransport({
      command: process.execPath, stderr: 'ignore',
      args: ['--require', join(here, 'as-member.cjs'), program, `postgresql://regress_immiiq_app@localhost/${database}?host=${encodeURIComponent(process.env.PGHOST)}`],
      env: { PATH: process.env.PATH, IMMIIQ_TOKEN: token },
    }));
    try {
      const result = await client.callTool({ name: 'query', arguments: { sql } });
      return result.content[0].text;
    } catch (error) {
      return `error: ${error.message}`;
    } finally {
      await client.close();
    }
  };
  const count_ = 'SELECT count(*)::int AS n FROM client';
  const as_owner = await call(values.alpha_owner_token, count_);
  const as_lead = await call(values.alpha_lead_token, count_);
  ok(/"n": 40\b/.test(as_owner), 'MCP: a tool call of a member with scope all', as_owner);
  ok(/"n": 20\b/.test(as_lead), 'MCP: the same tool call of a member with scope team', as_lead);
  const named = await call(values.alpha_owner_token, `SELECT note FROM client WHERE org_id = '${values.beta}'`);
  ok(named === '[]', 'MCP: an organisation that a prompt names', named);
  for (const [name, sql] of [
    ['a commit and another organisation in a setting', `COMMIT; SELECT set_config('app.org_id', '${values.beta}', false); SELECT note FROM client`],
    ['a commit and a role', "COMMIT; SET ROLE postgres; SELECT note FROM client"],
    ['a commit and row security off', 'COMMIT; SET row_security = off; SELECT note FROM client'],
    ['a commit and the firewall off', 'COMMIT; SET immiiq.firewall = off; SELECT reltuples FROM pg_class'],
    ['a commit and a made up token', "COMMIT; SELECT set_config('immiiq.token', 'iq_s_x', false); SELECT note FROM client"],
    ['a commit and a write', `COMMIT; UPDATE client SET note = 'defaced' WHERE org_id = '${values.beta}'; SELECT note FROM client`],
  ]) {
    const said = await call(values.alpha_owner_token, sql);
    ok(!canary(said) && !/mine-|open note/.test(said), `MCP: ${name} gains nothing`, said);
  }
  ok(psql('-c', "SELECT count(*) FROM client WHERE note = 'defaced'").trim() === '0', 'nothing was changed');
} finally {
  execFileSync('dropdb', ['--force', database]);
}
finish();
