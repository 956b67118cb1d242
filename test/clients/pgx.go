// pgx as it comes, on a sealed column: a pool, parameters, prepared statements, batches, COPY; as two members of different organisations,
// and as nobody. Needs a server (PGHOST …). Prints TAP.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"
)

var count, failed int

func ok(passed bool, name string, said ...interface{}) {
	count++
	word := "ok"
	if !passed {
		word = "not ok"
		failed++
	}
	fmt.Printf("%s %d - %s\n", word, count, name)
	if !passed {
		fmt.Println("#", said)
	}
}

func psql(database string, sql string) string {
	command := exec.Command("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database)
	command.Stdin = strings.NewReader(sql)
	out, err := command.CombinedOutput()
	if err != nil {
		fmt.Println("Bail out!", string(out))
		os.Exit(1)
	}
	return strings.TrimSpace(string(out))
}

// One transaction of whoever the token says; the work's error, or that of the commit.
func as(pool *pgxpool.Pool, token string, work func(tx pgx.Tx) error) error {
	ctx := context.Background()
	return pool.BeginFunc(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT set_config('immiiq.token', $1, true)", token); err != nil {
			return err
		}
		return work(tx)
	})
}

func state(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return fmt.Sprint(err)
}

func main() {
	ctx := context.Background()
	database := fmt.Sprintf("regress_pgx_%d", os.Getpid())
	psql("postgres", "CREATE DATABASE "+database)
	defer psql("postgres", "DROP DATABASE "+database+" WITH (FORCE)")
	psql(database, `CREATE EXTENSION immiiq;
		SELECT immiiq.grant_application('regress_immiiq_app');
		CREATE TABLE client (org_id uuid, client_id uuid DEFAULT gen_random_uuid(), name enc_text(equality, fold), born enc_date(equality), PRIMARY KEY (org_id, client_id));
		SELECT immiiq.protect('client', 'clients', client => 'client_id');
		GRANT ALL ON client TO regress_immiiq_app`)
	token := func(name string) string {
		said := psql(database, `SELECT immiiq.create_org('`+name+`') AS org \gset
			BEGIN; SELECT FROM immiiq.operate(:'org', 'test');
			INSERT INTO immiiq.member (member_id, email, name, scope, modules) VALUES (:'org', 'o@example', 'Owner', 'all', '{clients}');
			SELECT immiiq.issue_session(:'org'); COMMIT`)
		return said[strings.Index(said, "iq_s_"):]
	}
	alpha, beta := token("Alpha"), token("Beta")

	config, _ := pgxpool.ParseConfig("dbname=" + database + " user=regress_immiiq_app")
	config.MaxConns = 2
	pool, err := pgxpool.ConnectConfig(ctx, config)
	if err != nil {
		fmt.Println("Bail out!", err)
		os.Exit(1)
	}
	defer pool.Close()

	err = as(pool, alpha, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO client (name, born) VALUES ($1, $2)", "Zoë Nuñez", "1990-04-01")
		return err
	})
	ok(err == nil, "a parameter goes into a sealed column", err)
	// The same statement as three, prepared by pgx once for each connection.
	for i, who := range []string{alpha, beta, alpha, beta, alpha, beta} {
		var name string
		err = as(pool, who, func(tx pgx.Tx) error {
			return tx.QueryRow(ctx, "SELECT name::text FROM client WHERE name = $1", "ZOE NUNEZ").Scan(&name)
		})
		if who == alpha {
			ok(err == nil && name == "Zoë Nuñez", fmt.Sprintf("round %d: its organisation finds it, whatever its case", i), name, err)
		} else {
			ok(errors.Is(err, pgx.ErrNoRows), fmt.Sprintf("round %d: another does not", i), name, err)
		}
	}
	err = as(pool, alpha, func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		for i := 0; i < 20; i++ {
			batch.Queue("INSERT INTO client (name) VALUES ($1)", fmt.Sprintf("Batch %d", i))
		}
		return tx.SendBatch(ctx, batch).Close()
	})
	ok(err == nil, "a batch", err)
	var n int
	err = as(pool, alpha, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, "SELECT count(*) FROM client WHERE name = ANY ($1::text[])", []string{"batch 3", "BATCH 17", "none"}).Scan(&n)
	})
	ok(err == nil && n == 2, "an array as parameter", n, err)
	err = pool.QueryRow(ctx, "SELECT count(*) FROM client").Scan(&n)
	ok(err == nil && n == 0, "without a token there is nothing", n, err)
	_, err = pool.Exec(ctx, "INSERT INTO client (name) VALUES ($1)", "x")
	ok(err != nil, "and nothing is written", err)
	err = as(pool, "iq_s_nonsense", func(tx pgx.Tx) error { return nil })
	ok(state(err) == "IQ010", "a token that is none is refused", err)
	err = as(pool, alpha, func(tx pgx.Tx) error {
		_, err := tx.CopyFrom(ctx, pgx.Identifier{"client"}, []string{"name"}, pgx.CopyFromRows([][]interface{}{{"x"}}))
		return err
	})
	ok(err != nil, "COPY into a protected table is refused: use a batch", err)
	fmt.Printf("1..%d\n", count)
	if failed > 0 {
		defer os.Exit(1)
	}
}
