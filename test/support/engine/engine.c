#include "xsAll.h"
#include "xsScript.h"
#include "engine.h"
#include "flash.h"
#if defined(__linux__) || defined(__APPLE__)
	#include <sys/mman.h>
	#define CAN_PROTECT 1
#else
	#define CAN_PROTECT 0
#endif

/*
 * One block of memory, as the devices have it: chunks grow from its beginning, slots from its end. Chunks must stay in
 * one piece, then XS compacts them as a whole.
 */
struct engine_arena {
	txByte* bottom;
	txByte* chunks;                /* end of what the chunks have */
	txByte* slots;                 /* beginning of what the slots have */
	txByte* top;
	size_t reserved;               /* high-water mark */
};

/* A piece of the shared machine's memory. Whoever writes to it after it was shared is stopped, as by real flash. */
struct engine_flash {
	struct engine_flash* next;
	size_t size;
};

/* What belongs to one use of a machine; the machine's context points here. */
struct engine_job {
	struct engine_report* report;
	struct engine_arena arena;
	txByte* code;
	txID* ids;
	txU4 marked;                   /* computrons at the last mark */
};

static const struct { enum engine_end end; const char* name; } ENDS[] = {
	{ ENGINE_OK, "ok" },
	{ ENGINE_USAGE, "usage" },
	{ ENGINE_EXCEPTION, "exception" },
	{ ENGINE_HEAP_FULL, "heap-full" },
	{ ENGINE_STACK_OVERFLOW, "stack-overflow" },
	{ ENGINE_REJECTION, "rejection" },
	{ ENGINE_TOO_MUCH_COMPUTATION, "too-much-computation" },
	{ ENGINE_FATAL, "fatal" },
};

const char* engine_end_name(enum engine_end end)
{
	for (size_t i = 0; i < sizeof ENDS / sizeof *ENDS; i++) {
		if (ENDS[i].end == end)
			return ENDS[i].name;
	}
	return "fatal";
}

/* ---- What XS asks of its platform ---- */

void fxCreateMachinePlatform(txMachine* the)
{
	/* A clone is created with its job as context; the shared machine has none and takes memory as it comes. */
	the->arena = the->context ? &((struct engine_job*)the->context)->arena : NULL;
}

void fxDeleteMachinePlatform(txMachine* the)
{
	(void)the;
}

static void note_reserved(struct engine_arena* arena)
{
	size_t reserved = (size_t)(arena->chunks - arena->bottom) + (size_t)(arena->top - arena->slots);
	if (arena->reserved < reserved)
		arena->reserved = reserved;
}

static void* allocate_flash(txMachine* the, size_t size)
{
	struct engine_flash* flash;
	/* 16 bytes for this header keep the alignment of what follows. */
	size += 16;
#if CAN_PROTECT
	flash = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
	if (flash == MAP_FAILED)
		return NULL;
#else
	flash = calloc(1, size);
	if (!flash)
		return NULL;
#endif
	flash->size = size;
	flash->next = the->flash;
	the->flash = flash;
	return (txByte*)flash + 16;
}

static void protect_flash(txMachine* the)
{
#if CAN_PROTECT
	struct engine_flash* flash;
	for (flash = the->flash; flash; flash = flash->next)
		mprotect(flash, flash->size, PROT_READ);
#else
	(void)the;
#endif
}

static void free_flash(struct engine_flash* flash)
{
	while (flash) {
		struct engine_flash* next = flash->next;
#if CAN_PROTECT
		munmap(flash, flash->size);
#else
		free(flash);
#endif
		flash = next;
	}
}

static int within(struct engine_arena* arena, void* address)
{
	return arena && (arena->bottom <= (txByte*)address) && ((txByte*)address < arena->top);
}

void* fxAllocateChunks(txMachine* the, txSize size)
{
	struct engine_arena* arena = the->arena;
	txByte* result;
	if (!arena)
		return allocate_flash(the, (size_t)size);
	if (arena->slots - arena->chunks < size)
		return NULL;
	result = arena->chunks;
	arena->chunks += size;
	note_reserved(arena);
	return result;
}

void fxFreeChunks(txMachine* the, void* chunks)
{
	/* An arena goes as a whole after its machine, flash when its machine goes. */
	(void)the, (void)chunks;
}

txSlot* fxAllocateSlots(txMachine* the, txSize count)
{
	struct engine_arena* arena = the->arena;
	txSize size = count * (txSize)sizeof(txSlot);
	if (!arena)
		return allocate_flash(the, (size_t)size);
	/* The first request of a machine is its stack, which has a limit of its own. */
	if (!the->stackBottom)
		return malloc((size_t)size);
	if (arena->slots - arena->chunks < size) {
		/* The chunks may have room to spare at their end, once they are compacted. */
		txSize lack = size - (txSize)(arena->slots - arena->chunks);
		txBlock* block = the->firstBlock;
		fxCollect(the, XS_COMPACT_FLAG | XS_ORGANIC_FLAG);
		lack = (lack + 15) & ~15;
		if (!block || (block->limit - block->current < lack))
			return the->freeHeap ? (txSlot*)-1 : NULL;
		block->limit -= lack;
		arena->chunks -= lack;
		the->maximumChunksSize -= lack;
	}
	arena->slots -= size;
	note_reserved(arena);
	return (txSlot*)arena->slots;
}

void fxFreeSlots(txMachine* the, void* slots)
{
	if (the->arena && !within(the->arena, slots))
		free(slots);
}

void fxQueuePromiseJobs(txMachine* the)
{
	the->promiseJobs = 1;
}

void fxAbort(txMachine* the, int status)
{
	struct engine_job* job = the->context;
	enum engine_end end;
	switch (status) {
	case XS_NOT_ENOUGH_MEMORY_EXIT: end = ENGINE_HEAP_FULL; break;
	case XS_STACK_OVERFLOW_EXIT: end = ENGINE_STACK_OVERFLOW; break;
	case XS_UNHANDLED_EXCEPTION_EXIT: end = ENGINE_EXCEPTION; break;
	case XS_UNHANDLED_REJECTION_EXIT: end = ENGINE_REJECTION; break;
	case XS_TOO_MUCH_COMPUTATION_EXIT: end = ENGINE_TOO_MUCH_COMPUTATION; break;
	default: end = ENGINE_FATAL; break;
	}
	/* The first reason stands: what follows happens while it is being reported. */
	if (job && (job->report->end == ENGINE_OK))
		job->report->end = end;
	fxExitToHost(the);
}

/* ---- What scripts can call ---- */

static void measure(txMachine* the, struct engine_memory* chunks, struct engine_memory* slots)
{
	size_t chunksBefore = (size_t)the->currentChunksSize, slotsBefore = (size_t)the->currentHeapCount * sizeof(txSlot);
	chunks->peak = (size_t)the->peakChunksSize;
	slots->peak = (size_t)the->peakHeapCount * sizeof(txSlot);
	fxCollectGarbage(the);
	chunks->live = (size_t)the->currentChunksSize;
	chunks->garbage = chunksBefore - chunks->live;
	slots->live = (size_t)the->currentHeapCount * sizeof(txSlot);
	slots->garbage = slotsBefore - slots->live;
}

static void host_print(txMachine* the)
{
	struct engine_report* report = ((struct engine_job*)the->context)->report;
	if (mxArgc && report->print)
		report->print(report->sink, fxToString(the, mxArgv(0)));
}

static void host_mark(txMachine* the)
{
	struct engine_job* job = the->context;
	struct engine_report* report = job->report;
	struct engine_mark* mark;
	if (!mxArgc)
		mxTypeError("mark: no name");
	if (report->mark_count == ENGINE_MARKS)
		mxRangeError("mark: more than %d marks", ENGINE_MARKS);
	mark = &report->marks[report->mark_count++];
	fxToStringBuffer(the, mxArgv(0), mark->name, sizeof mark->name);
	mark->computrons = the->meterIndex - job->marked;
	job->marked = the->meterIndex;
	measure(the, &mark->chunks, &mark->slots);
	the->peakChunksSize = the->currentChunksSize;
	the->peakHeapCount = the->currentHeapCount;
}

/* ---- Scripts ---- */

/* Gives a parsed script the form it has in flash, with its names interned. */
static void externalize(txMachine* the, struct engine_job* job, txScript* script)
{
	txByte* p = script->symbolsBuffer;
	txID count, id, *ids;
	mxDecodeID(p, count);
	ids = job->ids = calloc(count ? count : 1, sizeof(txID));
	if (!ids)
		fxAbort(the, XS_FATAL_CHECK_EXIT);
	ids[0] = XS_NO_ID;
	for (id = 1; id < count; id++) {
		ids[id] = fxNewNameC(the, (txString)p);
		p += strlen((char*)p) + 1;
	}
	flash_bytecode(script->codeBuffer, script->codeBuffer + script->codeSize, ids);
	free(script->symbolsBuffer);
	script->symbolsBuffer = NULL;
}

static void run_jobs(txMachine* the)
{
	do {
		while (the->promiseJobs) {
			the->promiseJobs = 0;
			fxRunPromiseJobs(the);
		}
		fxEndJob(the);
	} while (the->promiseJobs);
	fxCheckUnhandledRejections(the, 1);
}

static void reset(struct engine_report* report)
{
	struct engine_report empty = { .print = report->print, .sink = report->sink };
	*report = empty;
}

/* Runs a script and its promise jobs. Everything that goes wrong ends here and in the report. */
static void run_script(txMachine* the, struct engine_job* job, const char* source, const char* input)
{
	struct engine_report* report = job->report;
	txScript* volatile script = NULL;
	mxTry(the) {
		txSlot* realm = mxModuleInstanceInternal(mxProgram.value.reference)->value.module.realm;
		txStringCStream stream = { (txString)source, 0, (txSize)strlen(source) };
		if (input) {
			mxPushStringX((txString)input);
			mxPush(mxGlobal);
			mxSetID(fxID(the, "input"));
			mxPop();
		}
		script = fxParseScript(the, &stream, fxStringCGetter, mxProgramFlag);
		if (script) {
			externalize(the, job, script);
			job->code = script->codeBuffer;
		}
		fxRunScript(the, script, mxRealmGlobal(realm), C_NULL, mxRealmClosures(realm)->value.reference, C_NULL,
			mxProgram.value.reference);
		mxPop();
		run_jobs(the);
		report->computrons = the->meterIndex;
		measure(the, &report->chunks, &report->slots);
	}
	mxCatch(the) {
		report->computrons = the->meterIndex;
		report->chunks.peak = (size_t)the->peakChunksSize;
		report->slots.peak = (size_t)the->peakHeapCount * sizeof(txSlot);
		if (report->end == ENGINE_OK)
			report->end = ENGINE_EXCEPTION;
	}
	free(job->ids);
	if (script) {
		if (script->symbolsBuffer)
			free(script->symbolsBuffer);
		if (job->code != script->codeBuffer)
			free(script->codeBuffer);
		free(script);
	}
	if ((report->end == ENGINE_EXCEPTION) || (report->end == ENGINE_REJECTION)) {
		/* Printing an exception runs its toString, which may fail as well. */
		mxTry(the) {
			mxPush(mxException);
			fxToString(the, the->stack);
			snprintf(report->message, sizeof report->message, "%s", the->stack->value.string);
			mxPop();
		}
		mxCatch(the) {
			snprintf(report->message, sizeof report->message, "(an exception that cannot be printed)");
		}
	}
}

/* ---- Machines ---- */

/* The name tables of a machine and its clones have the same size. */
enum { NAME_MODULO = 251, SYMBOL_MODULO = 61, PARSER_BUFFER = 64 * 1024, PARSER_TABLE_MODULO = 1993 };

txMachine* engine_create(void)
{
	txCreation creation = {
		.initialChunkSize = 256 * 1024, .incrementalChunkSize = 64 * 1024,
		.initialHeapCount = 16 * 1024, .incrementalHeapCount = 4 * 1024,
		.stackCount = 4096,
		.initialKeyCount = 2048, .incrementalKeyCount = 512,
		.nameModulo = NAME_MODULO, .symbolModulo = SYMBOL_MODULO,
		.parserBufferSize = PARSER_BUFFER, .parserTableModulo = PARSER_TABLE_MODULO,
	};
	txMachine* the = fxCreateMachine(&creation, "flash", NULL, XS_NO_ID);
	if (the) {
		txSlot* slot;
		mxPush(mxGlobal);
		flash_plain_global(the);
		slot = the->stack->value.reference;
		slot = fxLastProperty(the, slot);
		slot = fxNextHostFunctionProperty(the, slot, host_print, 1, fxID(the, "print"), XS_DONT_ENUM_FLAG);
		slot = fxNextHostFunctionProperty(the, slot, host_mark, 1, fxID(the, "mark"), XS_DONT_ENUM_FLAG);
		fxID(the, "input");
		mxPop();
	}
	return the;
}

void engine_preload(txMachine* the, const char* source, struct engine_report* report)
{
	struct engine_job job = { .report = report };
	reset(report);
	the->context = &job;
	fxBeginHost(the);
	run_script(the, &job, source, NULL);
	/* It may throw what it finds at the end of a failed run, and a failed preload is the end of this machine anyway. */
	if (report->end == ENGINE_OK)
		fxEndHost(the);
	the->context = NULL;
	/* The bytecode stays: it is the flash. */
}

void engine_share(txMachine* the)
{
	flash_share(the);
	protect_flash(the);
}

struct metered_job {
	struct engine_job job;
	uint32_t limit;
};

static txBoolean within_meter(txMachine* the, txU4 computrons)
{
	return computrons <= ((struct metered_job*)the->context)->limit;
}

void engine_run(txMachine* flash, const struct engine_limits* limits, const char* source, const char* input,
	struct engine_report* report)
{
	txCreation creation = {
		.initialChunkSize = 1024, .incrementalChunkSize = 512,
		.initialHeapCount = 64, .incrementalHeapCount = 32,
		.stackCount = (txSize)(limits->stack_bytes / sizeof(txSlot)),
		.initialKeyCount = 32, .incrementalKeyCount = 32,
		.nameModulo = NAME_MODULO, .symbolModulo = SYMBOL_MODULO,
		.parserBufferSize = PARSER_BUFFER, .parserTableModulo = PARSER_TABLE_MODULO,
	};
	struct metered_job metered = { .job = { .report = report }, .limit = limits->meter };
	struct engine_arena* arena = &metered.job.arena;
	size_t size = limits->heap_bytes & ~(size_t)15;
	txMachine* the;
	reset(report);
	arena->bottom = arena->chunks = malloc(size);
	if (!arena->bottom) {
		report->end = ENGINE_FATAL;
		return;
	}
	arena->slots = arena->top = arena->bottom + size;
	the = fxCloneMachine(&creation, flash, "run", &metered);
	if (the) {
		fxBeginMetering(the, within_meter, limits->meter < 4096 ? limits->meter : 4096);
		fxBeginHost(the);
		run_script(the, &metered.job, source, input);
		report->heap_reserved = arena->reserved;
		report->stack_peak = (size_t)(the->stackTop - the->stackPeak) * sizeof(txSlot);
		report->aliases = the->aliasCount;
		fxDeleteMachine(the);
	}
	else if (report->end == ENGINE_OK)
		report->end = ENGINE_HEAP_FULL;
	free(metered.job.code);
	free(arena->bottom);
}

void engine_delete(txMachine* the)
{
	struct engine_flash* flash = the->flash;
	/* The machine still reads its memory while it is deleted. */
	fxDeleteMachine(the);
	free_flash(flash);
}
