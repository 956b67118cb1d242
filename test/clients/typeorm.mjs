// What orms.mjs asks of every mapper, in TypeORM's words.
import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const { DataSource, EntitySchema, In } = createRequire(join(process.env.MODULES, 'package.json'))('typeorm');
const Client = new EntitySchema({
  name: 'client', tableName: 'client', synchronize: false,
  columns: { client_id: { type: 'uuid', primary: true }, org_id: { type: 'uuid', nullable: true, default: () => 'immiiq.current_org()' }, name: { type: 'text' }, note: { type: 'text' } },
});
class MakeMemo1700000000000 {
  async up(runner) {
    await runner.query('CREATE TABLE typeorm_memo (id uuid PRIMARY KEY, org_id uuid, text enc_text(match))');
    await runner.query("SELECT immiiq.protect('typeorm_memo', 'cases')");
  }
  async down() {}
}
const server = { type: 'postgres', host: process.env.PGHOST, database: process.env.PGDATABASE, installExtensions: false };
const owners = await new DataSource({ ...server, username: process.env.AUTHOR, migrations: [MakeMemo1700000000000] }).initialize();
await owners.runMigrations();
await owners.destroy();

const source = await new DataSource({ ...server, username: process.env.PGUSER, entities: [Client], extra: { max: 1 } }).initialize();
const as = (token, work) => source.transaction(async (manager) => {
  if (token) await manager.query("SELECT set_config('immiiq.token', $1, true)", [token]);
  return work(manager.getRepository('client'), manager);
});
const { OWNER, LEAD, BETA } = process.env;
const notes = async (rows) => (await rows).map((row) => row.note);
const runner = source.createQueryRunner();
const result = {
  owner: await as(OWNER, (clients) => clients.count()),
  lead: await as(LEAD, (clients) => clients.count()),
  hidden: await as(LEAD, async (clients) => (await clients.find()).filter((row) => /HIDDEN/.test(row.name + row.note)).length),
  nobody: await as(null, (clients) => clients.count()),
  found: await as(LEAD, (clients) => notes(clients.findBy({ name: 'open name 4' }))),
  beyond: await as(LEAD, (clients) => notes(clients.findBy({ name: In(['HIDDEN name 3', 'CANARY name 1']) }))),
  trip: await as(OWNER, async (clients) => {
    const row = await clients.save({ client_id: randomUUID(), name: 'Zoë Nuñez', note: 'orm' });
    const first = (await clients.findOneBy({ name: 'Zoë Nuñez' })).name;
    await clients.save({ ...row, name: 'Zoë Nuñez-Ruiz' });
    const second = (await clients.findOneBy({ client_id: row.client_id })).name;
    await clients.delete({ client_id: row.client_id });
    return [first, second, await clients.findOneBy({ name: 'Zoë Nuñez-Ruiz' })];
  }),
  refused: await as(OWNER, (clients) => clients.insert({ client_id: randomUUID(), org_id: BETA, name: 'x', note: 'planted' })).then(() => null, (error) => error.code),
  columns: (await runner.getTable('client')).columns.map((column) => column.name),
  released: await runner.release(),
  after: await source.getRepository('client').count(),
  migrated: 'typeorm_memo',
};
await source.destroy();
console.log(JSON.stringify(result));
