/*
 * What the XS sources ask of the platform they are compiled for (XSPLATFORM). Memory, the queue of promise jobs and the
 * reaction to an abort are in engine.c; everything else keeps the defaults of XS.
 */
#ifndef ENGINE_PLATFORM_H
#define ENGINE_PLATFORM_H

#define XS_FUNCTION_NORETURN __attribute__((noreturn))

#if defined(__linux__)
	#undef mxLinux
	#define mxLinux 1
#elif defined(__APPLE__)
	#undef mxMacOSX
	#define mxMacOSX 1
#endif

#include <ctype.h>
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__linux__) || defined(__APPLE__)
	#include <arpa/inet.h>
	#include <pthread.h>
	#include <unistd.h>
	#define mxUsePOSIXThreads 1
#endif
#define mxUseGCCAtomics 1

struct engine_arena;
struct engine_flash;
#define mxMachinePlatform \
	struct engine_arena* arena; \
	struct engine_flash* flash; \
	int promiseJobs; \
	void* waiterCondition; \
	void* waiterData; \
	void* waiterLink;

#define mxUseDefaultBuildKeys 1
#define mxUseDefaultFindModule 1
#define mxUseDefaultLoadModule 1
#define mxUseDefaultParseScript 1
#define mxUseDefaultSharedChunks 1

/* As on a device: nothing is printed by the engine itself, built-in functions are primitives without an object. */
#define mxNoConsole 1
#define mxHostFunctionPrimitive 1

#endif
