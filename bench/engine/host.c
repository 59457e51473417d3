/*
 * Runs scripts on XS as a device would: built-ins and preloaded scripts in a shared read-only machine, bytecode outside
 * the heap, one block of memory of a given size for stack, slots and chunks. Scripts find these functions:
 *
 *   print(text)            writes one line
 *   measure(f, a, b, c)    calls f(a, b, c), returns the instructions that it took (RISC-V), or nanoseconds (elsewhere)
 *   garbage(f, a, b, c)    calls f(a, b, c), returns the bytes of chunks and slots that it took, before any collection
 *   ticks()                instructions (RISC-V) or nanoseconds (elsewhere) so far
 *   taken()                bytes of chunks and slots that are taken, garbage included
 *   used()                 bytes of chunks and slots in use after a collection
 *
 * Arguments: heap bytes, or "default" for the heap that mcconfig gives an app unless its manifest says otherwise; stack
 * bytes; files. Each file is one script; one that begins with + is preloaded. Exit code 2:
 * memory full, 3: exception; a signal, where a preloaded script writes to what is read-only.
 */
#include "xsAll.h"
#include "xsScript.h"
#include "flash.h"

#ifdef __riscv
#include <semihost.h>
#else
#include <sys/mman.h>
#endif

enum { FULL = 2, THROWN = 3, FLASH_BYTES = 48 * 1024 * 1024 };

static void* gBytecode = NULL;

void benchFree(void* memory)
{
  if (memory != gBytecode)
    free(memory);
}

static uint8_t* gPoolLow;
static uint8_t* gPoolHigh;

/* Where the machine that is created next has its memory. */
static uint8_t* pool(size_t size)
{
#ifdef __riscv
  gPoolLow = malloc(size);
#else
  gPoolLow = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
#endif
  gPoolHigh = gPoolLow + size;
  return gPoolLow;
}

/* Slots come from the top of the pool downwards, chunks from its bottom upwards, as in the ports for small devices. */
void* fxAllocateChunks(txMachine* the, txSize size)
{
  uint8_t* result = gPoolLow;
  if (size > gPoolHigh - gPoolLow)
    return NULL;
  gPoolLow += size;
  return result;
}

void fxFreeChunks(txMachine* the, void* chunks)
{
}

txSlot* fxAllocateSlots(txMachine* the, txSize count)
{
  txSize size = count * sizeof(txSlot);
  if (size > gPoolHigh - gPoolLow)
    return NULL;
  gPoolHigh -= size;
  return (txSlot*)gPoolHigh;
}

void fxFreeSlots(txMachine* the, void* slots)
{
}

void fxAbort(txMachine* the, int status)
{
  if (status == XS_NOT_ENOUGH_MEMORY_EXIT) {
    fprintf(stderr, "memory full\n");
    exit(FULL);
  }
  fprintf(stderr, "XS ends with status %d\n", status);
  exit(status ? status : 1);
}

void fxQueuePromiseJobs(txMachine* the)
{
  the->promiseJobs = 1;
}

txID fxFindModule(txMachine* the, txSlot* realm, txID moduleID, txSlot* slot)
{
  return XS_NO_ID;
}

void fxLoadModule(txMachine* the, txSlot* module, txID moduleID)
{
}

static uint64_t ticks(void)
{
#ifdef __riscv
  uint32_t low, high, again;
  do {
    __asm__ volatile("rdinstreth %0" : "=r"(high));
    __asm__ volatile("rdinstret %0" : "=r"(low));
    __asm__ volatile("rdinstreth %0" : "=r"(again));
  } while (high != again);
  return ((uint64_t)high << 32) | low;
#else
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (uint64_t)now.tv_sec * 1000000000u + now.tv_nsec;
#endif
}

static txSize memory(txMachine* the)
{
  return the->currentChunksSize + the->currentHeapCount * sizeof(txSlot);
}

static void call(txMachine* the)
{
  txInteger i;
  mxPushUndefined();
  mxPushSlot(mxArgv(0));
  mxCall();
  for (i = 1; i < mxArgc; i++)
    mxPushSlot(mxArgv(i));
  mxRunCount(mxArgc - 1);
  mxPop();
}

static void measure(txMachine* the)
{
  uint64_t start = ticks();
  call(the);
  start = ticks() - start;
  mxResult->value.number = (txNumber)start;
  mxResult->kind = XS_NUMBER_KIND;
}

static void garbage(txMachine* the)
{
  txSize before;
  fxCollectGarbage(the);
  before = memory(the);
  call(the);
  mxResult->value.integer = memory(the) - before;
  mxResult->kind = XS_INTEGER_KIND;
}

static void ticked(txMachine* the)
{
  mxResult->value.number = (txNumber)ticks();
  mxResult->kind = XS_NUMBER_KIND;
}

static void taken(txMachine* the)
{
  mxResult->value.integer = memory(the);
  mxResult->kind = XS_INTEGER_KIND;
}

static void used(txMachine* the)
{
  fxCollectGarbage(the);
  mxResult->value.integer = memory(the);
  mxResult->kind = XS_INTEGER_KIND;
}

static void print(txMachine* the)
{
  printf("%s\n", fxToString(the, mxArgv(0)));
}

static void define(txMachine* the, txString name, txCallback callback, int length)
{
  fxNewHostFunction(the, callback, length, XS_NO_ID, XS_NO_ID);
  mxPush(mxGlobal);
  mxSetID(fxNewNameC(the, name));
  mxPop();
}

static uint64_t run(txMachine* the, txString path)
{
  txStringCStream stream;
  txScript* script;
  txSlot* realm = mxProgram.value.reference->next->value.module.realm;
  uint64_t start;
  char* text;
  long size, got = 0;
  FILE* file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END) || (size = ftell(file)) < 0 || fseek(file, 0, SEEK_SET)) {
    fprintf(stderr, "cannot read %s\n", path);
    exit(1);
  }
  text = malloc(size + 1);
  while (got < size) {
    size_t more = fread(text + got, 1, size - got, file);
    if (!more)
      break;
    got += more;
  }
  text[got] = 0;
  fclose(file);
  stream.buffer = text;
  stream.offset = 0;
  stream.size = got;
  script = fxParseScript(the, &stream, fxStringCGetter, mxProgramFlag);
  if (!script) {
    fprintf(stderr, "cannot parse %s\n", path);
    exit(1);
  }
  flash_bytecode(script->codeBuffer, script->codeBuffer + script->codeSize, NULL);
  gBytecode = script->codeBuffer;
  start = ticks();
  fxRunScript(the, script, mxRealmGlobal(realm), C_NULL, mxRealmClosures(realm)->value.reference, C_NULL, mxProgram.value.reference);
  start = ticks() - start;
  mxPop();
  free(text);
  return start;
}

/* Runs the scripts that are to be preloaded, or the others; gives the time of the last one. */
static uint64_t runAll(txMachine* the, int argc, char* argv[], int preloaded)
{
  volatile uint64_t last = 0;
  volatile int i;
  mxTry(the) {
    for (i = 3; i < argc; i++) {
      if ((argv[i][0] == '+') == preloaded)
        last = run(the, argv[i] + preloaded);
    }
    while (the->promiseJobs) {
      the->promiseJobs = 0;
      fxRunPromiseJobs(the);
    }
  }
  mxCatch(the) {
    fprintf(stderr, "exception: %s\n", fxToString(the, &mxException));
    exit(THROWN);
  }
  return last;
}

int main(int argc, char* argv[])
{
  txMachine* root;
  txMachine* the;
  long heapBytes, stackBytes;
  uint8_t* flash;
  /* So large that nothing is collected while a job is counted. */
  int roomy, usual;
#ifdef __riscv
  static char line[1024];
  static char* words[64];
  char* word;
  sys_semihost_get_cmdline(line, sizeof line);
  argv = words;
  argc = 0;
  for (word = strtok(line, " "); word && argc < 63; word = strtok(NULL, " "))
    words[argc++] = word;
#endif
  if (argc < 4) {
    fprintf(stderr, "usage: engine HEAP-BYTES STACK-BYTES SCRIPT…\n");
    return 1;
  }
  usual = !strcmp(argv[1], "default");
  heapBytes = usual ? 256 * 1024 : atol(argv[1]);
  stackBytes = atol(argv[2]);
  roomy = heapBytes >= 512 * 1024;
  flash = pool(FLASH_BYTES);
  {
    txCreation creation = {
      .initialChunkSize = 1024 * 1024, .incrementalChunkSize = 256 * 1024, .initialHeapCount = 64 * 1024,
      .incrementalHeapCount = 16 * 1024, .stackCount = 8 * 1024, .initialKeyCount = 4096, .incrementalKeyCount = 1024,
      .nameModulo = 127, .symbolModulo = 127, .parserBufferSize = 64 * 1024, .parserTableModulo = 1993,
    };
    root = fxCreateMachine(&creation, "root", NULL, XS_NO_ID);
    flash_plain_global(root);
    fxBeginHost(root);
    define(root, "print", print, 1);
    define(root, "measure", measure, 1);
    define(root, "garbage", garbage, 1);
    define(root, "ticks", ticked, 0);
    define(root, "taken", taken, 0);
    define(root, "used", used, 0);
    runAll(root, argc, argv, 1);
    fxEndHost(root);
    flash_share(root);
#ifndef __riscv
    mprotect(flash, FLASH_BYTES, PROT_READ);
#endif
  }
  pool((heapBytes + 15) & ~15L);
  {
    txCreation creation = {
      .initialChunkSize = usual ? 32768 : roomy ? heapBytes / 2 : 1024, .incrementalChunkSize = usual ? 1024 : 256,
      .initialHeapCount = usual ? 2048 : roomy ? heapBytes / 4 / sizeof(txSlot) : 64,
      .incrementalHeapCount = usual ? 64 : 32,
      .stackCount = stackBytes / sizeof(txSlot), .initialKeyCount = 512, .incrementalKeyCount = 64, .nameModulo = 127,
      .symbolModulo = 127, .parserBufferSize = 64 * 1024, .parserTableModulo = 1993,
    };
    the = fxCloneMachine(&creation, root, "device", NULL);
    if (!the) {
      fprintf(stderr, "memory full\n");
      return FULL;
    }
  }
  fxBeginHost(the);
  printf("loaded %llu\n", (unsigned long long)runAll(the, argc, argv, 0));
  fxEndHost(the);
  return 0;
}
