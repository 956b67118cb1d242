// What orms.mjs asks of every mapper, in Prisma's words. Its migrations need an engine that npm does not bring: they are not tried here.
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const { MODULES, OWNER, LEAD, BETA, PGHOST, PGDATABASE, PGUSER } = process.env;
const folder = mkdtempSync(join(MODULES, 'prisma-'));
writeFileSync(join(folder, 'schema.prisma'), `
generator client {
  provider   = "prisma-client-js"
  engineType = "client"
  output     = "./client"
}
datasource db {
  provider = "postgresql"
  url      = "postgresql://localhost"
}
model Client {
  client_id String  @id @db.Uuid
  org_id    String? @default(dbgenerated("immiiq.current_org()")) @db.Uuid
  name      String
  note      String
  @@map("client")
}`);
execFileSync(join(MODULES, 'node_modules/.bin/prisma'), ['generate', '--schema', join(folder, 'schema.prisma')],
  { cwd: MODULES, stdio: 'pipe', env: { ...process.env, PRISMA_SCHEMA_ENGINE_BINARY: '/bin/true', CHECKPOINT_DISABLE: '1', PRISMA_HIDE_UPDATE_MESSAGE: '1' } });
const modules = createRequire(join(MODULES, 'package.json'));
const { PrismaClient } = createRequire(join(folder, 'schema.prisma'))('./client');
const { PrismaPg } = modules('@prisma/adapter-pg');
const prisma = new PrismaClient({ adapter: new PrismaPg({ host: PGHOST, database: PGDATABASE, user: PGUSER, max: 1 }) });
const as = (token, work) => prisma.$transaction(async (tx) => {
  if (token) await tx.$executeRaw`SELECT set_config('immiiq.token', ${token}, true)`;
  return work(tx.client, tx);
});
const notes = async (rows) => (await rows).map((row) => row.note);
const result = {
  owner: await as(OWNER, (clients) => clients.count()),
  lead: await as(LEAD, (clients) => clients.count()),
  hidden: await as(LEAD, async (clients) => (await clients.findMany()).filter((row) => /HIDDEN/.test(row.name + row.note)).length),
  nobody: await as(null, (clients) => clients.count()),
  found: await as(LEAD, (clients) => notes(clients.findMany({ where: { name: 'open name 4' } }))),
  beyond: await as(LEAD, (clients) => notes(clients.findMany({ where: { name: { in: ['HIDDEN name 3', 'CANARY name 1'] } } }))),
  trip: await as(OWNER, async (clients) => {
    const { client_id } = await clients.create({ data: { client_id: randomUUID(), name: 'Zoë Nuñez', note: 'orm' } });
    const first = (await clients.findFirst({ where: { name: 'Zoë Nuñez' } })).name;
    await clients.update({ where: { client_id }, data: { name: 'Zoë Nuñez-Ruiz' } });
    const second = (await clients.findUnique({ where: { client_id } })).name;
    await clients.delete({ where: { client_id } });
    return [first, second, await clients.findFirst({ where: { name: 'Zoë Nuñez-Ruiz' } })];
  }),
  refused: await as(OWNER, (clients) => clients.create({ data: { client_id: randomUUID(), org_id: BETA, name: 'x', note: 'planted' } }))
    .then(() => null, (error) => /42501/.exec(JSON.stringify(error) + error.message)?.[0] ?? error.message),
  columns: (await as(OWNER, (clients, tx) => tx.$queryRaw`SELECT column_name::text FROM information_schema.columns WHERE table_name = 'client'`)).map((row) => row.column_name),
  after: await prisma.client.count(),
};
await prisma.$disconnect();
rmSync(folder, { recursive: true });
console.log(JSON.stringify(result));
