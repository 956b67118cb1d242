/*
 * The worker's side of the journal.
 */
#ifndef IMMIIQ_WRITER_H
#define IMMIIQ_WRITER_H

/* Drops the prepared insert, after an error or when the extension is gone. */
extern void writer_forget(void);

#endif /* IMMIIQ_WRITER_H */
