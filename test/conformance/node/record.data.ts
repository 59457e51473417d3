import { data as message } from "./message.data.js";

export const data = { "a stored text is sent as the text that it was": message["text arrives as it was given"] };
