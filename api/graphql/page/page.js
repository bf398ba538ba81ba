"use strict";
// Sends what is written and shows what comes. The key stays in this tab.
const at = (id) => document.getElementById(id);
const example = `# Ctrl-Enter runs this.
{
  getGeoIPInfo { nearestBuckets { bucket display cloud } }
  my {
    self { email }
    allProjects(first: 10) { edges { node { id name numImage } } }
  }
}
`;
at("query").value = sessionStorage.getItem("query") || example;
at("variables").value = sessionStorage.getItem("variables") || "";
at("token").value = sessionStorage.getItem("token") || "";
for (const id of ["query", "variables", "token"]) at(id).addEventListener("input", () => sessionStorage.setItem(id, at(id).value));

async function ask(query, variables) {
	const headers = { "Content-Type": "application/json", key: "graphql-page" };
	if (at("token").value.trim()) headers.altitoken = at("token").value.trim();
	const response = await fetch("/graphql", { method: "POST", headers, body: JSON.stringify({ query, variables }) });
	return [response.status, await response.json()];
}

function tell(text, bad) {
	at("status").textContent = text;
	at("status").className = bad ? "bad" : "";
}

async function run() {
	let variables = null;
	try {
		if (at("variables").value.trim()) variables = JSON.parse(at("variables").value);
	} catch (e) {
		tell(word("badVariables") + e.message, true);
		return;
	}
	tell(word("waiting"), false);
	const began = performance.now();
	try {
		const [status, answer] = await ask(at("query").value, variables);
		at("answer").textContent = JSON.stringify(answer, null, 2);
		tell(`${status} · ${Math.round(performance.now() - began)} ${word("seconds")}`, status !== 200 || !!answer.errors);
	} catch {
		tell(word("unreachable"), true);
	}
}
at("run").addEventListener("click", run);
document.addEventListener("keydown", (e) => {
	if ((e.ctrlKey || e.metaKey) && e.key === "Enter") { e.preventDefault(); run(); }
});
at("query").addEventListener("keydown", (e) => {
	if (e.key !== "Tab" || e.shiftKey || e.ctrlKey || e.altKey) return;
	e.preventDefault();
	at("query").setRangeText("  ", at("query").selectionStart, at("query").selectionEnd, "end");
});

let types = [];
ask(introspection, null).then(([, answer]) => { types = answer.data.__schema.types; showDocs(types, ""); }).catch(() => tell(word("unreachable"), true));
at("find").addEventListener("input", () => showDocs(types, at("find").value.trim().toLowerCase()));
