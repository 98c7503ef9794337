// Parses each flowchart on standard input, a JSON list of texts, with Mermaid's own parser; fails at the first fault.
// No browser: what would clean text for one is told to leave it alone, for only the grammar is asked about.
import { readFileSync } from "node:fs";
import DOMPurify from "dompurify";

DOMPurify.sanitize = (text) => text;
DOMPurify.addHook = () => {};
const { default: mermaid } = await import("mermaid");
mermaid.initialize({ maxEdges: 1000000, maxTextSize: 100000000 });
for (const text of JSON.parse(readFileSync(0, "utf8"))) {
  const { diagramType } = await mermaid.parse(text);
  if (!diagramType.startsWith("flowchart")) throw new Error(`read as ${diagramType}`);
}
