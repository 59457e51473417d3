/** What can be changed in a TypeScript file: small faults, each of which some test should notice. */
import ts from "typescript";

/**
 * @typedef {object} Mutant
 * @property {string} id `line:column kind replacement`, unique within its file
 * @property {string} kind
 * @property {number} line from 1
 * @property {number} column from 1
 * @property {number} start offset of what is replaced
 * @property {number} end
 * @property {string} replacement
 */

const SWAPS = new Map([
  [ts.SyntaxKind.LessThanToken, ["<=", ">="]],
  [ts.SyntaxKind.LessThanEqualsToken, ["<", ">"]],
  [ts.SyntaxKind.GreaterThanToken, [">=", "<="]],
  [ts.SyntaxKind.GreaterThanEqualsToken, [">", "<"]],
  [ts.SyntaxKind.EqualsEqualsEqualsToken, ["!=="]],
  [ts.SyntaxKind.ExclamationEqualsEqualsToken, ["==="]],
  [ts.SyntaxKind.PlusToken, ["-"]],
  [ts.SyntaxKind.MinusToken, ["+"]],
  [ts.SyntaxKind.AsteriskToken, ["/"]],
  [ts.SyntaxKind.SlashToken, ["*"]],
  [ts.SyntaxKind.PercentToken, ["*"]],
  [ts.SyntaxKind.AsteriskAsteriskToken, ["*"]],
  [ts.SyntaxKind.LessThanLessThanToken, [">>>"]],
  [ts.SyntaxKind.GreaterThanGreaterThanToken, ["<<"]],
  [ts.SyntaxKind.GreaterThanGreaterThanGreaterThanToken, ["<<"]],
  [ts.SyntaxKind.AmpersandToken, ["|"]],
  [ts.SyntaxKind.BarToken, ["&"]],
  [ts.SyntaxKind.CaretToken, ["&"]],
  [ts.SyntaxKind.PlusEqualsToken, ["-=", "="]],
  [ts.SyntaxKind.MinusEqualsToken, ["+=", "="]],
]);

const isLogical = (kind) =>
  kind === ts.SyntaxKind.AmpersandAmpersandToken ||
  kind === ts.SyntaxKind.BarBarToken ||
  kind === ts.SyntaxKind.QuestionQuestionToken;

/** Whether text is concatenated: `-` instead of `+` would not be a likely fault. */
const isText = (node) => ts.isStringLiteralLike(node) || ts.isTemplateExpression(node);

/**
 * All mutants of a file, in the order of their places.
 * @param {string} path for the parser's own messages
 * @param {string} source
 * @returns {Mutant[]}
 */
export function mutants(path, source) {
  const file = ts.createSourceFile(path, source, ts.ScriptTarget.ES2022, true, ts.ScriptKind.TS);
  const found = [];
  const text = (node) => source.slice(node.getStart(file), node.end);
  const replace = (kind, node, replacement) => {
    const start = node.getStart(file);
    if (source.slice(start, node.end) === replacement) return;
    const { line, character } = file.getLineAndCharacterOfPosition(start);
    found.push({ kind, line: line + 1, column: character + 1, start, end: node.end, replacement });
  };

  const condition = (node) => {
    for (const value of ["true", "false"]) if (text(node) !== value) replace("condition", node, value);
  };

  const statement = (node) => {
    if (ts.isExpressionStatement(node) || ts.isThrowStatement(node)) replace("statement", node, ";");
    else if (ts.isContinueStatement(node) || ts.isBreakStatement(node)) replace("statement", node, ";");
    else if (ts.isReturnStatement(node)) {
      if (node.expression === undefined) replace("statement", node, ";");
      else if (!/^(true|false|undefined|-?\d[\d_.]*)$/.test(text(node.expression))) {
        replace("return", node, "return undefined;");
      }
    }
  };

  const visit = (node) => {
    if (ts.isTypeNode(node) || ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node)) return;
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return;
    if (node.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.DeclareKeyword)) return;
    statement(node);
    if (ts.isIfStatement(node)) condition(node.expression);
    else if (ts.isWhileStatement(node) || ts.isDoStatement(node)) replace("condition", node.expression, "false");
    else if (ts.isForStatement(node) && node.condition) replace("condition", node.condition, "false");
    else if (ts.isConditionalExpression(node)) condition(node.condition);
    else if (ts.isBinaryExpression(node)) {
      const { operatorToken, left, right } = node;
      if (isLogical(operatorToken.kind)) {
        replace("operand", node, text(left));
        replace("operand", node, text(right));
      } else if (!(operatorToken.kind === ts.SyntaxKind.PlusToken && (isText(left) || isText(right)))) {
        for (const other of SWAPS.get(operatorToken.kind) ?? []) replace("operator", operatorToken, other);
      }
    } else if (ts.isPrefixUnaryExpression(node)) {
      if (node.operator === ts.SyntaxKind.ExclamationToken) replace("negation", node, `(${text(node.operand)})`);
      else if (node.operator === ts.SyntaxKind.MinusToken) replace("sign", node, text(node.operand));
      else if (node.operator === ts.SyntaxKind.PlusPlusToken) replace("operator", node, `--${text(node.operand)}`);
    } else if (ts.isPostfixUnaryExpression(node)) {
      const other = node.operator === ts.SyntaxKind.PlusPlusToken ? "--" : "++";
      replace("operator", node, `${text(node.operand)}${other}`);
    } else if (ts.isAwaitExpression(node)) replace("await", node, `(${text(node.expression)})`);
    else if (node.questionDotToken && (ts.isPropertyAccessExpression(node) || ts.isCallExpression(node))) {
      replace("chain", node.questionDotToken, ts.isCallExpression(node) ? "" : ".");
    } else if (node.kind === ts.SyntaxKind.TrueKeyword) replace("literal", node, "false");
    else if (node.kind === ts.SyntaxKind.FalseKeyword) replace("literal", node, "true");
    else if (ts.isNumericLiteral(node)) replace("literal", node, String(Number(node.text) + 1));
    else if (ts.isStringLiteral(node) && !isMessage(node)) replace("literal", node, node.text === "" ? '"x"' : '""');
    else if (ts.isRegularExpressionLiteral(node)) pattern(node);
    ts.forEachChild(node, visit);
  };

  // An anchor less lets pass what only begins or ends well.
  const pattern = (node) => {
    const [, body, flags] = /^\/(.*)\/([a-z]*)$/s.exec(node.text);
    if (body.startsWith("^")) replace("pattern", node, `/${body.slice(1)}/${flags}`);
    if (body.endsWith("$") && !body.endsWith("\\$")) replace("pattern", node, `/${body.slice(0, -1)}/${flags}`);
  };

  visit(file);
  found.sort((a, b) => a.start - b.start || a.end - b.end);
  const seen = new Set();
  return found
    .map((mutant) => ({
      id: `${mutant.line}:${mutant.column} ${mutant.kind} ${mutant.replacement.replace(/\s+/g, " ")}`,
      ...mutant,
    }))
    .filter(({ id }) => !seen.has(id) && seen.add(id));
}

/** The words of an error are for people: no test should hold them to the letter. */
function isMessage(node) {
  const { parent } = node;
  if (ts.isPropertyAssignment(parent) && parent.name === node) return true;
  return (
    ts.isNewExpression(parent) && parent.arguments?.indexOf(node) > 0 && /Error$/.test(parent.expression.getText())
  );
}

/** The source with one mutant in it. */
export function apply(source, { start, end, replacement }) {
  return source.slice(0, start) + replacement + source.slice(end);
}

/**
 * The source with a probe in every block, to find out which test reaches what.
 * @param {string} name of the global function that is called with the number of a block
 * @returns {{ source: string, blocks: { start: number, end: number }[] }} the probes' blocks
 */
export function probed(path, source, name) {
  const file = ts.createSourceFile(path, source, ts.ScriptTarget.ES2022, true, ts.ScriptKind.TS);
  const blocks = [];
  const visit = (node) => {
    if (ts.isBlock(node)) blocks.push({ start: node.getStart(file), end: node.end, at: node.getStart(file) + 1 });
    else if (ts.isCaseOrDefaultClause(node) && node.statements.length > 0) {
      const at = node.statements[0].getStart(file);
      blocks.push({ start: at, end: node.end, at });
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  let text = source;
  for (const [index, { at }] of [...blocks.entries()].sort(([, a], [, b]) => b.at - a.at)) {
    text = `${text.slice(0, at)}${name}(${JSON.stringify(path)},${index});${text.slice(at)}`;
  }
  return { source: text, blocks };
}

/** The number of the innermost block around a mutant; undefined if it is at the top level of its file. */
export function blockOf(blocks, { start, end }) {
  let least;
  for (const [index, block] of blocks.entries()) {
    const inside = block.start <= start && end <= block.end;
    if (inside && (least === undefined || block.end - block.start < blocks[least].end - blocks[least].start)) {
      least = index;
    }
  }
  return least;
}
