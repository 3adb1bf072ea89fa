/**
 * Java's .properties syntax (java.util.Properties#load): `key=value`, `key: value`, `key value`, comments with # or !, a trailing
 * odd backslash continues the line, \t \n \r \f \uXXXX and any other escaped character. The last of equal keys wins.
 */
import { Trouble } from "../base/trouble.ts";

export interface PropertyLine {
  readonly key: string;
  readonly value: string;
  /** 1-based number of the first natural line. */
  readonly line: number;
}

const isBlank = (char: string | undefined): boolean => char === " " || char === "\t" || char === "\f";

/** Throws Trouble "config-bad-syntax" for a malformed \uXXXX; everything else means something in this syntax. */
export function parseProperties(text: string, sourceName: string): readonly PropertyLine[] {
  const naturalLines = text.split(/\r\n|\n|\r/);
  const properties: PropertyLine[] = [];
  for (let index = 0; index < naturalLines.length; index++) {
    const firstLine = index + 1;
    let logical = trimStart(naturalLines[index] ?? "");
    if (logical === "" || logical.startsWith("#") || logical.startsWith("!")) continue;
    while (endsWithOddBackslash(logical)) {
      logical = logical.slice(0, -1);
      if (index + 1 >= naturalLines.length) break;
      index++;
      logical += trimStart(naturalLines[index] ?? "");
    }
    properties.push(splitLine(logical, firstLine, sourceName));
  }
  return properties;
}

function trimStart(line: string): string {
  let start = 0;
  while (isBlank(line[start])) start++;
  return line.slice(start);
}

function endsWithOddBackslash(line: string): boolean {
  let count = 0;
  while (line[line.length - 1 - count] === "\\") count++;
  return count % 2 === 1;
}

function splitLine(logical: string, line: number, sourceName: string): PropertyLine {
  let end = 0;
  while (end < logical.length) {
    const char = logical[end];
    if (char === "\\") end++;
    else if (char === "=" || char === ":" || isBlank(char)) break;
    end++;
  }
  const keyEnd = Math.min(end, logical.length);
  let valueStart = keyEnd;
  while (isBlank(logical[valueStart])) valueStart++;
  if (logical[valueStart] === "=" || logical[valueStart] === ":") {
    valueStart++;
    while (isBlank(logical[valueStart])) valueStart++;
  }
  return {
    key: resolveEscapes(logical.slice(0, keyEnd), line, sourceName),
    value: resolveEscapes(logical.slice(valueStart), line, sourceName),
    line,
  };
}

const ESCAPES: Readonly<Record<string, string>> = { t: "\t", n: "\n", r: "\r", f: "\f" };

function resolveEscapes(text: string, line: number, sourceName: string): string {
  if (!text.includes("\\")) return text;
  let out = "";
  for (let index = 0; index < text.length; index++) {
    const char = text[index] ?? "";
    if (char !== "\\") {
      out += char;
      continue;
    }
    index++;
    const escaped = text[index] ?? "";
    if (escaped !== "u") {
      out += ESCAPES[escaped] ?? escaped;
      continue;
    }
    const digits = text.slice(index + 1, index + 5);
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) {
      throw new Trouble({
        code: "config-bad-syntax",
        message: `${sourceName} line ${line}: malformed \\uXXXX escape "\\u${digits}"`,
        remedy: "write four hexadecimal digits after \\u, or double the backslash",
        retryable: false,
        exitCode: 2,
      });
    }
    out += String.fromCharCode(Number.parseInt(digits, 16));
    index += 4;
  }
  return out;
}
