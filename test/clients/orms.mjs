// Object-relational mappers, unmodified, on the database of the attack suite: Django, SQLAlchemy and Rails' Active Record from Debian,
// Prisma and TypeORM from npm. Each maps the same protected table with a sealed column in its own words and does the same; each makes
// and protects a table of its own as the owner's role. Usage: orms.mjs MODULES, the folder that npm installed into. Prints TAP.
import { execFileSync, spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { finish, ok } from './tap.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const database = `regress_orms_${process.pid}`;
const author = `regress_orms_author_${process.pid}`;
const psql = (...args) => execFileSync('psql', ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d', database, ...args], { encoding: 'utf8', cwd: join(here, '../..') });

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

const mappers = {
  Django: ['/usr/bin/python3', 'django/run.py'],
  SQLAlchemy: ['/usr/bin/python3', 'sqlalchemy_orm.py'],
  Rails: ['/usr/bin/ruby', 'rails/run.rb'],
  TypeORM: [process.execPath, 'typeorm.mjs'],
  Prisma: [process.execPath, 'prisma.mjs'],
};

execFileSync('createdb', [database]);
try {
  const values = Object.fromEntries(psql('-f', 'test/attack/setup.sql').split('\n').filter((line) => line.includes('=')).map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
  psql('-c', `CREATE ROLE ${author} LOGIN; SELECT FROM immiiq.grant_owner('${author}'); GRANT CREATE ON SCHEMA public TO ${author};`);
  for (const [name, [program, script]] of Object.entries(mappers)) {
    const env = {
      ...process.env, PGDATABASE: database, PGUSER: 'regress_immiiq_app', AUTHOR: author, MODULES: process.argv[2],
      OWNER: values.alpha_owner_token, LEAD: values.alpha_lead_token, BETA: values.beta, PYTHONDONTWRITEBYTECODE: '1',
    };
    const run = spawnSync(program, [join(here, script)], { encoding: 'utf8', env, timeout: 120000 });
    let did;
    try {
      did = JSON.parse(run.stdout.trim().split('\n').pop());
    } catch {
      ok(false, `${name} runs`, { out: run.stdout, error: run.stderr?.slice(-1500), why: run.error?.message });
      continue;
    }
    ok(did.owner === 40, `${name}: a member with scope all counts the organisation`, did);
    ok(did.lead === 20 && did.hidden === 0, `${name}: the same query of a member with scope team counts the team`, did);
    ok(did.nobody === 0, `${name}: nobody sees nothing`, did);
    ok(same(did.found, ['open note 4']), `${name}: a sealed column is searched by value, and read in clear`, did);
    ok(same(did.beyond, []), `${name}: a value beyond the scope is not found`, did);
    ok(same(did.trip, ['Zoë Nuñez', 'Zoë Nuñez-Ruiz', null]), `${name}: a row is made, changed and deleted`, did);
    ok(did.refused === '42501', `${name}: a row for another organisation is refused`, did);
    ok(did.columns.includes('name') && did.columns.includes('note'), `${name}: the application's role can look at the table`, did);
    ok(did.after === 0, `${name}: the next user of the connection sees nothing`, did);
    ok(!/CANARY|canary-\d|be7aca4a/.test(run.stdout + run.stderr), `${name}: nothing of another organisation's anywhere`);
    if (did.migrated)
      ok(psql('-c', `SELECT count(*) FROM immiiq.protected_table WHERE relation = '${did.migrated}'::regclass AND forced`).trim() === '1', `${name}: a migration of the owner makes a protected table`, did);
  }
} finally {
  execFileSync('dropdb', ['--force', database]);
  execFileSync('dropuser', ['--if-exists', author]);
}
finish();
