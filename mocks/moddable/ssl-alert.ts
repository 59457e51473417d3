/** `ssl/alert`: what a session's `doProtocol` is told to send. */
export default Object.freeze({ name: "alert" });
