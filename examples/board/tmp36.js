/**
 * Full scale of the SDK's analog input on an ESP32 in millivolts. The input is calibrated: a reading is relative to the
 * attenuator's range (12 dB), not to the supply's 3300 mV.
 */
const FULL_SCALE_MV = 2450;

/**
 * Converts a reading of a TMP36: 500 mV at 0 °C plus 10 mV per degree.
 * @param {number} reading of the analog input
 * @param {number} resolution of the analog input, in bits
 * @returns {number} degrees Celsius, to a tenth
 */
export function celsius(reading, resolution) {
  const millivolts = (reading / ((1 << resolution) - 1)) * FULL_SCALE_MV;
  return Math.round(millivolts - 500) / 10;
}
