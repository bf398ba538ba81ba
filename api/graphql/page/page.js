"use strict";
// Sends what is written and shows what comes. Nothing leaves this tab but the
// request: key, texts and history are in its session storage.
const at = (id) => document.getElementById(id);
const endpoint = location.pathname;
const historyLength = 30;
const colouredUpTo = 300_000; // characters; a longer answer is shown plain

const example = `# ${word("run")}: Ctrl-Enter
{
  getGeoIPInfo {
    nearestBuckets { bucket display cloud }
  }
  my {
    self { email }
    allProjects(first: 10) {
      totalCount
      edges { node { id name numImage gigaPixel date } }
    }
  }
}
`;

// kept is a value in session storage, which a browser may forbid.
const kept = {
	get(name) { try { return sessionStorage.getItem(name); } catch { return null; } },
	set(name, value) { try { sessionStorage.setItem(name, value); } catch { /* then it is not kept */ } },
};

// ---- the editors

// number writes the numbers beside an editor's lines; bad are marked.
function number(editor, bad = new Set()) {
	const lines = editor.parentElement.querySelector(".lines");
	const count = editor.value.split("\n").length;
	lines.replaceChildren(...Array.from({ length: count }, (_, i) => make("span", bad.has(i + 1) ? "bad" : "", `${i + 1}\n`)));
	lines.scrollTop = editor.scrollTop;
}

for (const [id, first] of [["query", example], ["variables", ""]]) {
	const editor = at(id);
	editor.value = kept.get(id) ?? first;
	number(editor);
	editor.addEventListener("input", () => { kept.set(id, editor.value); number(editor); });
	editor.addEventListener("scroll", () => { editor.previousElementSibling.scrollTop = editor.scrollTop; });
	editor.addEventListener("keydown", (e) => indent(e, editor));
}
at("token").value = kept.get("token") ?? "";
at("token").addEventListener("input", () => kept.set("token", at("token").value));

// insert types text where the cursor is, so that undo takes it back.
function insert(editor, text) {
	if (!document.execCommand("insertText", false, text)) {
		editor.setRangeText(text, editor.selectionStart, editor.selectionEnd, "end");
		editor.dispatchEvent(new Event("input"));
	}
}

// indent puts two spaces for Tab, and begins a line where the last one began.
// Escape before Tab leaves the editor, for those who have no mouse.
let leaving = false;
function indent(e, editor) {
	if (e.key === "Tab" && !leaving && !e.shiftKey && !e.ctrlKey && !e.altKey && !e.metaKey) {
		e.preventDefault();
		insert(editor, "  ");
	} else if (e.key === "Enter" && !e.ctrlKey && !e.metaKey && !e.isComposing) {
		const before = editor.value.slice(0, editor.selectionStart);
		const last = before.slice(before.lastIndexOf("\n") + 1);
		e.preventDefault();
		insert(editor, "\n" + last.match(/^ */)[0] + (/[{([]\s*$/.test(last) ? "  " : ""));
	}
	leaving = e.key === "Escape";
}

// ---- asking

async function ask(query, variables) {
	const headers = { "Content-Type": "application/json", key: "graphql-page" };
	const token = at("token").value.trim();
	if (token) headers.altitoken = token;
	const response = await fetch(endpoint, { method: "POST", headers, body: JSON.stringify({ query, variables }) });
	return { status: response.status, text: await response.text() };
}

function tell(text, className = "") {
	at("status").textContent = text;
	at("status").className = className;
}

// readVariables returns what is written, null for nothing.
function readVariables() {
	const text = at("variables").value.trim();
	return text ? JSON.parse(text) : null;
}

let asked = 0; // an answer to an older question is not shown
async function run() {
	const turn = ++asked;
	let variables;
	try {
		variables = readVariables();
	} catch (e) {
		tell(word("badVariables") + e.message, "bad");
		return;
	}
	remember();
	tell(word("waiting"));
	const began = performance.now();
	try {
		const { status, text } = await ask(at("query").value, variables);
		if (turn !== asked) return;
		const answer = JSON.parse(text);
		show(answer);
		const bad = new Set((answer.errors ?? []).flatMap((e) => (e.locations ?? []).map((l) => l.line)));
		number(at("query"), bad);
		const size = text.length < 10_000 ? `${text.length} B` : `${Math.round(text.length / 1000)} kB`;
		tell(word("took", { status, size, ms: Math.round(performance.now() - began) }), answer.errors ? "bad" : "good");
	} catch {
		if (turn === asked) tell(word("unreachable"), "bad");
	}
}

// show writes an answer with its strings, numbers and names in colours.
function show(answer) {
	const text = JSON.stringify(answer, null, 2);
	const box = at("answer");
	box.scrollTop = 0;
	if (text.length > colouredUpTo) {
		box.textContent = text;
		return;
	}
	const out = [];
	let from = 0;
	for (const m of text.matchAll(/("(?:[^"\\]|\\.)*")(\s*:)?|-?\d[\d.eE+-]*|true|false|null/g)) {
		out.push(text.slice(from, m.index), make("span", m[2] ? "name" : m[1] ? "string" : "value", m[1] ?? m[0]));
		from = m.index + (m[1] ?? m[0]).length;
	}
	box.replaceChildren(...out, text.slice(from));
}

// ---- history

let past = [];
try { past = JSON.parse(kept.get("history") ?? "[]"); } catch { /* begin anew */ }

// remember keeps what was asked, but no password.
function remember() {
	const query = at("query").value, variables = at("variables").value;
	if (!query.trim() || query.includes("getUserToken")) return;
	past = [{ query, variables }, ...past.filter((p) => p.query !== query || p.variables !== variables)].slice(0, historyLength);
	kept.set("history", JSON.stringify(past));
	listPast();
}

function listPast() {
	const first = new Option(word("history"), "");
	first.disabled = first.selected = true;
	const line = (p) => p.query.replace(/#.*/g, "").replace(/\s+/g, " ").trim().slice(0, 70);
	at("history").replaceChildren(first, ...past.map((p, i) => new Option(line(p), i)));
	at("history").disabled = !past.length;
}

at("history").addEventListener("change", () => {
	const chosen = past[at("history").value];
	for (const id of ["query", "variables"]) {
		at(id).value = chosen[id];
		at(id).dispatchEvent(new Event("input"));
	}
	at("history").selectedIndex = 0;
	at("query").focus();
});
listPast();

// ---- the rest

at("curl").addEventListener("click", async () => {
	let body;
	try {
		body = JSON.stringify({ query: at("query").value, variables: readVariables() });
	} catch (e) {
		tell(word("badVariables") + e.message, "bad");
		return;
	}
	const quoted = "'" + body.replaceAll("'", "'\\''") + "'";
	try {
		await navigator.clipboard.writeText(`curl -H "altitoken: $KEY" -H 'Content-Type: application/json' -d ${quoted} ${location.origin}${endpoint}`);
		tell(word("copied"), "good");
	} catch {
		tell(word("notCopied"), "bad");
	}
});
at("run").addEventListener("click", run);
document.addEventListener("keydown", (e) => {
	if ((e.ctrlKey || e.metaKey) && e.key === "Enter") {
		e.preventDefault();
		run();
	}
});
at("answer").textContent = word("hint");

let types = [];
ask(introspection, null)
	.then(({ text }) => {
		types = JSON.parse(text).data.__schema.types;
		showDocs(types, "");
	})
	.catch(() => tell(word("unreachable"), "bad"));
at("find").addEventListener("input", () => showDocs(types, at("find").value.trim().toLowerCase()));
