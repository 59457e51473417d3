export const data = {
  "text arrives as it was given": [
    [""],
    ["21.5"],
    ['quotes " and \\ and /'],
    ["\b\f\n\r\t\u0000\u001f\u007f"],
    ["温度过高，请检查设备！"],
    ["😀 and 👨‍👩‍👧"],
    ["\u2028\u2029\ufeff"],
    ["\ud83d", "\ude00"],
    ["\ud83d lone"],
    ["\ude00", "\ud83d"],
    ["</script>"],
    ['{"a":1}'],
  ],
};
