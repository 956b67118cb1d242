/*
 * What the server log may know of a transaction in which somebody is active.
 */
#ifndef IMMIIQ_REDACT_H
#define IMMIIQ_REDACT_H

/* Notes that somebody is active, for log lines that come after the transaction's end. */
extern void journal_note_secret(void);
/* At the end of a transaction. */
extern void journal_forget_secret(bool aborted);

#endif /* IMMIIQ_REDACT_H */
