/**
 * Millivolts of the largest number that the SDK's analog input gives on an ESP32. The input is calibrated: the number
 * is the voltage in parts of the attenuator's range (12 dB), not of the supply's 3300 mV.
 */
const FULL_SCALE_MV = 2450;

/**
 * Temperature that a TMP36 reports: 500 mV at 0 °C, 10 mV more for each degree.
 * @param {number} reading of the analog input
 * @param {number} resolution of the analog input, in bits
 * @returns {number} degrees Celsius, to a tenth
 */
export function celsius(reading, resolution) {
  const millivolts = (reading / ((1 << resolution) - 1)) * FULL_SCALE_MV;
  return Math.round(millivolts - 500) / 10;
}
