/*
 * Stores, documents and the URLs that reach them; secrets; webhooks.
 */
#ifndef IMMIIQ_DOCUMENTS_H
#define IMMIIQ_DOCUMENTS_H

extern void documents_init(void);
/* Called by hooks/ at abort, before the journal hands over: URLs that were made in what is undone are written down there. */
extern void documents_after_abort(void);
/* Called by hooks/ at commit: the URLs made are on record. */
extern void documents_after_commit(void);

#endif /* IMMIIQ_DOCUMENTS_H */
