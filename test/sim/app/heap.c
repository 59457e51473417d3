#include "xsAll.h"
#include "xs.h"

/* Bytes of chunks and slots in use, after a collection. */
void xs_test_heapUsed(xsMachine *the)
{
	fxCollectGarbage(the);
	xsResult = xsInteger(the->currentChunksSize + the->currentHeapCount * sizeof(txSlot));
}
