/*
 * Every server hook: chains what was there, dispatches, decides nothing.
 */
#ifndef IMMIIQ_HOOKS_H
#define IMMIIQ_HOOKS_H

extern void hooks_init(void);

#endif /* IMMIIQ_HOOKS_H */
