/*
 * What makes a machine of XS one that stands in flash, as Moddable's linker does it for a firmware: shared by the engine
 * of the tests and the one of the benchmark. To be included after xsAll.h and xsScript.h.
 */
#ifndef ENGINE_FLASH_H
#define ENGINE_FLASH_H

/*
 * The global object keeps a table of built-ins that it fills as they are used, which cannot be in flash. Without it, it
 * is an ordinary object, as in the machines that Moddable's linker makes.
 */
static void flash_plain_global(txMachine* the)
{
	txSlot* instance = mxGlobal.value.reference;
	instance->flag &= ~XS_EXOTIC_FLAG;
	instance->next = instance->next->next;
}

/*
 * Replaces the opcodes that would copy functions and string literals into the heap by those that refer to them in place.
 * The bytecode must outlive the machine's use. `ids`, where it is not NULL, are the machine's names of the script's.
 */
static void flash_bytecode(txByte* p, txByte* end, const txID* ids)
{
	while (p < end) {
		txS1 size = gxCodeSizes[*(txU1*)p];
		switch (*(txU1*)p) {
		case XS_CODE_CODE_1: *p = XS_CODE_CODE_ARCHIVE_1; break;
		case XS_CODE_CODE_2: *p = XS_CODE_CODE_ARCHIVE_2; break;
		case XS_CODE_CODE_4: *p = XS_CODE_CODE_ARCHIVE_4; break;
		case XS_CODE_STRING_1: *p = XS_CODE_STRING_ARCHIVE_1; break;
		case XS_CODE_STRING_2: *p = XS_CODE_STRING_ARCHIVE_2; break;
		case XS_CODE_STRING_4: *p = XS_CODE_STRING_ARCHIVE_4; break;
		}
		if (size > 0)
			p += size;
		else if (size == 0) {
			txID id;
			p++;
			mxDecodeID(p, id);
			if (ids && (id != XS_NO_ID)) {
				p -= sizeof(txID);
				id = ids[id];
				mxEncodeID(p, id);
			}
		}
		else {
			txU2 length2;
			txS4 length4;
			p++;
			if (size == -1) {
				txU1 length1 = *(txU1*)p++;
				p += length1;
			}
			else if (size == -2) {
				mxDecode2(p, length2);
				p += length2;
			}
			else {
				mxDecode4(p, length4);
				p += length4;
			}
		}
	}
}

/*
 * Gives a slot the kind or the flag that tells XS where its value lies: a clone's garbage collector must not look for a
 * chunk there, and what would change the value in place is refused.
 */
static void flash_slot(txSlot* slot)
{
	switch (slot->kind) {
	case XS_STRING_KIND: slot->kind = XS_STRING_X_KIND; break;
	case XS_BIGINT_KIND: slot->kind = XS_BIGINT_X_KIND; break;
	case XS_KEY_KIND: slot->kind = XS_KEY_X_KIND; break;
	case XS_CODE_KIND: slot->kind = XS_CODE_X_KIND; break;
	case XS_REGEXP_KIND: slot->value.regexp.data = NULL; break;
	case XS_ARRAY_BUFFER_KIND:
	case XS_DATE_KIND:
	case XS_MAP_KIND:
	case XS_SET_KIND:
	case XS_WEAK_MAP_KIND:
	case XS_WEAK_SET_KIND:
		slot->flag |= XS_DONT_SET_FLAG;
		break;
	case XS_ARRAY_KIND:
		if (slot->value.array.address) {
			txChunk* chunk = (txChunk*)((txByte*)slot->value.array.address - sizeof(txChunk));
			txIndex count = (txIndex)(chunk->size / (txSize)sizeof(txSlot)), i;
			/* An item is never an array itself, but a reference to one. */
			for (i = 0; i < count; i++)
				flash_slot(slot->value.array.address + i);
		}
		break;
	default: break;
	}
}

/* Shares the machine for its clones. What it holds is read-only from now on. */
static void flash_share(txMachine* the)
{
	txSlot *heap, *slot;
	fxShareMachine(the);
	for (heap = the->firstHeap; heap; heap = heap->next) {
		for (slot = heap + 1; slot < heap->value.reference; slot++)
			flash_slot(slot);
	}
	for (slot = the->stack; slot < the->stackTop; slot++)
		flash_slot(slot);
}

#endif
