// What a bucket is called.
import { t } from "./i18n.js";

// As the program calls its own buckets where the configuration gives them no other
// name; a name that somebody chose stays as it is.
const builtIn = { Local: "This machine", DemoOSS: "OSS emulator" };

/** The name of a bucket {symbol, display} for people. */
export const bucketName = ({ symbol, display }) => display && display === builtIn[symbol] ? t("buckets.of." + symbol) : display || symbol;
