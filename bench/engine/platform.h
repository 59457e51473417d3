/* What XS asks of its platform, for an engine that runs one script on Linux or on a bare RISC-V core. */
#ifndef BENCH_PLATFORM_H
#define BENCH_PLATFORM_H

#undef mxLittleEndian
#define mxLittleEndian 1

#include <ctype.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifndef PATH_MAX
#define PATH_MAX 256
#endif

#ifndef mxFallThrough
#define mxFallThrough __attribute__((fallthrough))
#endif

/* XS frees a script once its top level has run; its functions still need the bytecode. */
extern void benchFree(void* memory);
#define c_free benchFree

#define mxExport extern
#define mxImport extern
#define XS_FUNCTION_NORETURN __attribute__((noreturn))

/* Without atomic instructions: there is one machine, and it shares no memory. */


#define mxMachinePlatform \
  int promiseJobs; \
  void* waiterCondition; \
  void* waiterData; \
  void* waiterLink;

#define mxUseDefaultBuildKeys 1
#define mxUseDefaultParseScript 1
#define mxUseDefaultSharedChunks 1
#define mxUseDefaultMachinePlatform 1

#endif
