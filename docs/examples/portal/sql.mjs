// PostgreSQL as the signed-in user: one request, one transaction, one token. What they see and do is the database's affair.
import pg from 'pg';

pg.types.setTypeParser(1082, text => text);                     // a date is a day, not a moment somewhere
const pool = new pg.Pool({ user: 'practice_app', max: 10, application_name: 'portal' });
pool.on('error', () => {});                                     // a connection that ends while idle is replaced at its next use
export const close = () => pool.end();

// sql`… ${value} …`: a value is a parameter and never text of the statement; only another sql`…` is put in as it stands.
class Statement { constructor(parts, values) { this.parts = parts; this.values = values; } }
export const sql = (parts, ...values) => new Statement(parts, values);
export const all = (list, glue) => list.reduce((a, b) => sql`${a}${glue}${b}`);
const write = ({ parts, values }, list) => parts.reduce((text, part, i) => text +
    (values[i - 1] instanceof Statement ? write(values[i - 1], list) : `$${list.push(values[i - 1])}`) + part);
const asker = db => async statement => {
    const values = [];
    return db.query({ text: write(statement, values), values });
};

export const anyone = asker(pool);                              // signing in: nobody is active yet

export async function as(token, address, agent, work) {
    const db = await pool.connect();
    let lost;
    try {
        await db.query('BEGIN');
        await db.query('SELECT immiiq.authenticate($1, $2, $3)', [token, address, agent]);
        const answer = await work(asker(db));
        await db.query('COMMIT');
        return answer;
    } catch (error) {
        await db.query('ROLLBACK').catch(() => { lost = true; });
        throw error;
    } finally {
        db.release(lost);
    }
}
