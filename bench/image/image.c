/*
 * Runs an image that mcconfig has linked for an ESP32, with the SDK's own native code, on a bare RISC-V core: imports its
 * module `main`, which finds `bench_ticks` (instructions so far) and `bench_print` (writes one line).
 */
#include "xsAll.h"
#include "xs.h"
#include "mc.xs.h"

enum { FULL = 2, THROWN = 3 };

void fxAbort(txMachine* the, int status)
{
  if (status == XS_NOT_ENOUGH_MEMORY_EXIT) {
    printf("memory full\n");
    exit(FULL);
  }
  printf("exception: %s\n", fxToString(the, &mxException));
  exit(THROWN);
}

void fxQueuePromiseJobs(txMachine* the)
{
  the->promiseJobs = 1;
}

uint32_t modMilliseconds(void)
{
  return 0;
}

static uint64_t ticks(void)
{
  uint32_t low, high, again;
  do {
    __asm__ volatile("rdinstreth %0" : "=r"(high));
    __asm__ volatile("rdinstret %0" : "=r"(low));
    __asm__ volatile("rdinstreth %0" : "=r"(again));
  } while (high != again);
  return ((uint64_t)high << 32) | low;
}

void bench_ticks(xsMachine* the)
{
  xsResult = xsNumber((double)ticks());
}

void bench_print(xsMachine* the)
{
  printf("%s\n", xsToString(xsArg(0)));
}

void benchFree(void* memory)
{
  free(memory);
}

/* Anchors come with the recordings. */
const void* mcGetResource(xsMachine* the, const char* path, size_t* size)
{
  return NULL;
}

int main(void)
{
  xsMachine* machine = xsPrepareMachine(NULL, xsPreparation(), "main", NULL, NULL);
  if (!machine) {
    printf("memory full\n");
    return FULL;
  }
  xsBeginHost(machine);
  {
    xsTry {
      xsResult = xsImportNow("main");
    }
    xsCatch {
      printf("exception: %s\n", xsToString(xsException));
      exit(THROWN);
    }
  }
  xsEndHost(machine);
  printf("end\n");
  return 0;
}
