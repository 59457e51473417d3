/*
 * An XS machine as on a device: a fixed heap, a fixed stack, built-ins and preloaded scripts in a read-only machine that
 * is shared ("flash"), bytecode and string literals outside of the heap.
 *
 *     txMachine* flash = engine_create();
 *     engine_preload(flash, source, &report);      // as often as wanted
 *     engine_share(flash);                         // read-only from here on
 *     engine_run(flash, &limits, script, input, &report);   // each run in a fresh clone
 *     engine_delete(flash);
 *
 * Nothing here exits the process or prints; that is the business of whoever calls.
 */
#ifndef ENGINE_H
#define ENGINE_H

#include <stddef.h>
#include <stdint.h>

struct sxMachine;

/* How a run ended; also the exit code of the command line. 1 is left to the C library and to sanitizers. */
enum engine_end {
	ENGINE_OK = 0,
	ENGINE_USAGE = 2,              /* wrong arguments, or a file that cannot be read */
	ENGINE_EXCEPTION = 10,         /* uncaught exception, a syntax error too */
	ENGINE_HEAP_FULL = 11,
	ENGINE_STACK_OVERFLOW = 12,
	ENGINE_REJECTION = 13,         /* a promise was rejected and nobody looked */
	ENGINE_TOO_MUCH_COMPUTATION = 14,
	ENGINE_FATAL = 15,             /* any other abort of the engine, e.g. no more keys */
};

struct engine_limits {
	size_t heap_bytes;             /* chunks and slots together */
	size_t stack_bytes;
	uint32_t meter;                /* computrons, below 2^31 */
};

/* Sizes in bytes. */
struct engine_memory {
	size_t peak;                   /* highest use, garbage included */
	size_t live;                   /* after a full collection */
	size_t garbage;                /* what that collection freed */
};

struct engine_mark {
	char name[32];
	uint32_t computrons;           /* since the mark before */
	struct engine_memory chunks;   /* peak since the mark before */
	struct engine_memory slots;
};

enum { ENGINE_MARKS = 64 };

/* What a run left behind. `print` and `sink` are the caller's and set before the run. */
struct engine_report {
	void (*print)(void* sink, const char* text);
	void* sink;
	enum engine_end end;
	char message[512];             /* exception or reason of the rejection, as text in XS's own UTF-8 */
	uint32_t computrons;
	size_t heap_reserved;          /* most of the heap that was ever taken from its limit */
	size_t stack_peak;             /* as Moddable's instrumentation counts: looked at when functions return */
	size_t aliases;                /* objects and variables of the shared machine that a run could change by copying */
	struct engine_memory chunks;
	struct engine_memory slots;
	int mark_count;
	struct engine_mark marks[ENGINE_MARKS];
};

const char* engine_end_name(enum engine_end end);

/* The shared machine with the built-ins; NULL if there is no memory. */
struct sxMachine* engine_create(void);
/* Evaluates a script in it. Its top-level declarations are visible to all later scripts and runs. */
void engine_preload(struct sxMachine* flash, const char* source, struct engine_report* report);
void engine_share(struct sxMachine* flash);
/* Runs a script, and its promise jobs to the end, in a fresh clone. `input` (may be NULL) becomes the global of that name. */
void engine_run(struct sxMachine* flash, const struct engine_limits* limits, const char* source, const char* input,
	struct engine_report* report);
void engine_delete(struct sxMachine* flash);

#endif
