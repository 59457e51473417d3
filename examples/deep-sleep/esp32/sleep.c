#include "xsmc.h"
#include "esp_sleep.h"

// The SDK has no deep sleep for this chip. The program restarts when the time is over.
void xs_example_deepSleep(xsMachine *the)
{
	esp_deep_sleep(1000000ULL * (uint32_t)xsmcToInteger(xsArg(0)));
}
