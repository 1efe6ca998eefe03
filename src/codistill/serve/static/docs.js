// The API's page, drawn from /openapi.json by itself: no script comes from elsewhere.

const theme = localStorage.getItem("theme") ?? (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark");
document.documentElement.dataset.theme = theme;

const api = await (await fetch("/openapi.json")).json();
const main = document.getElementById("docs");

function element(tag, text = "", name = "") { return Object.assign(document.createElement(tag), { textContent: text, className: name }); }

function resolve(schema) {
  return schema?.$ref ? schema.$ref.split("/").slice(1).reduce((place, key) => place[key], api) : (schema ?? {});
}

function typeOf(schema) {
  const one = resolve(schema);
  if (one.enum) return one.enum.join(" | ");
  if (one.type === "array") return `${typeOf(one.items)}, repeatable`;
  if (one.contentMediaType || one.format === "binary") return "file";
  return one.type ?? "";
}

function table(rows) {
  const made = document.createElement("table");
  for (const cells of rows) {
    const row = made.insertRow();
    cells.forEach((text, i) => { const cell = row.insertCell(); if (i) cell.textContent = text; else cell.append(element("code", text)); });
  }
  return made;
}

function curl(path, method, body) {
  const here = location.origin;
  if (method === "get") return `curl ${here}${path}`;
  const fields = Object.keys(body.properties ?? {});
  const form = fields.map((name) => (name === "images" ? "-F images=@picture.jpg" : `-F ${name}=depth`)).join(" ");
  return `curl ${form} '${here}${path}'`;
}

main.append(element("p", api.info.description, "lead"));
for (const [path, methods] of Object.entries(api.paths)) {
  for (const [method, about] of Object.entries(methods)) {
    const card = element("section", "", "card"), head = element("h2");
    head.append(element("span", method.toUpperCase(), `method ${method}`), element("code", path));
    card.append(head);
    for (const text of (about.description ?? about.summary).split("\n\n")) card.append(element("p", text.replace(/\s+/g, " ")));
    const content = about.requestBody?.content?.["multipart/form-data"], body = resolve(content?.schema);
    const fields = Object.entries(body.properties ?? {}).map(([name, schema]) => [name, typeOf(schema), schema.description ?? "", body.required?.includes(name) ? "required" : ""]);
    const query = (about.parameters ?? []).map((one) => [one.name, typeOf(one.schema), one.description ?? "", one.schema.default ?? ""]);
    if (fields.length) card.append(element("h3", "Form"), table(fields));
    if (query.length) card.append(element("h3", "Query"), table(query));
    card.append(element("h3", "Answers"), table(Object.entries(about.responses).map(([code, one]) => [code, one.description])));
    card.append(element("h3", "Try it"), element("pre", curl(path, method, body)));
    main.append(card);
  }
}
