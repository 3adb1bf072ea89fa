/** `weir completion bash|zsh|fish`: a script made from the tree of commands, so that it never knows more or less than the program. */
import type { Command } from "commander";
import { Trouble } from "../base/trouble.ts";

interface Node {
  /** "" for the program, "topic create" for a verb's verb. */
  readonly path: string;
  readonly verbs: readonly { readonly name: string; readonly description: string }[];
  readonly options: readonly { readonly name: string; readonly description: string }[];
}

export function listNodes(command: Command, path = ""): readonly Node[] {
  const verbs = command.commands.map((each) => ({ name: each.name(), description: each.description() }));
  const options = command.options.flatMap(({ long, description }) =>
    long === undefined || long === null ? [] : [{ name: long, description }],
  );
  const here = { path, verbs, options: [...options, { name: "--help", description: "show help" }] };
  return [here, ...command.commands.flatMap((each) => listNodes(each, `${path} ${each.name()}`.trim()))];
}

/** Throws Trouble "usage". */
export function renderCompletion(program: Command, shell: string): string {
  const nodes = listNodes(program);
  if (shell === "bash") return renderBash(nodes);
  if (shell === "zsh") return `autoload -U +X bashcompinit && bashcompinit\n${renderBash(nodes)}`;
  if (shell === "fish") return renderFish(nodes);
  throw new Trouble({
    code: "usage",
    message: `no completion for ${shell}`,
    remedy: "the shell must be bash, zsh or fish",
    retryable: false,
    exitCode: 2,
  });
}

function renderBash(nodes: readonly Node[]): string {
  const verbCases = nodes
    .filter(({ verbs }) => verbs.length > 0)
    .map(({ path, verbs }) => `      "${path}") verbs="${verbs.map(({ name }) => name).join(" ")}" ;;`);
  const optionCases = nodes.map(({ path, options }) => `    "${path}") words="${options.map(({ name }) => name).join(" ")}" ;;`);
  return `# weir completion bash
_weir() {
  local current="\${COMP_WORDS[COMP_CWORD]}" path="" verbs="" words="" index word
  COMPREPLY=()
  for ((index = 1; index <= COMP_CWORD; index++)); do
    verbs=""
    case "$path" in
${verbCases.join("\n")}
    esac
    word="\${COMP_WORDS[index]}"
    if [[ $index -lt $COMP_CWORD && " $verbs " == *" $word "* ]]; then path="\${path:+$path }$word"; fi
  done
  case "$path" in
${optionCases.join("\n")}
  esac
  if [[ "$current" == -* ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$current"))
  elif [[ -n "$verbs" ]]; then
    COMPREPLY=($(compgen -W "$verbs" -- "$current"))
  else
    COMPREPLY=($(compgen -f -- "$current"))
  fi
}
complete -F _weir weir
`;
}

const quoteFish = (text: string): string => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;

function renderFish(nodes: readonly Node[]): string {
  const lines = nodes.flatMap(({ path, verbs, options }) => {
    const names = verbs.map(({ name }) => name).join(" ");
    const seen = path.split(" ").filter((word) => word !== "");
    const inside = seen.map((word) => `__fish_seen_subcommand_from ${word}`);
    const verbCondition = [...inside, ...(names === "" ? [] : [`not __fish_seen_subcommand_from ${names}`])].join("; and ");
    const optionCondition = inside.length === 0 ? "__fish_use_subcommand" : inside.join("; and ");
    return [
      ...verbs.map(({ name, description }) => `complete -c weir -f -n ${quoteFish(verbCondition)} -a ${name} -d ${quoteFish(description)}`),
      ...options.map(
        ({ name, description }) => `complete -c weir -n ${quoteFish(optionCondition)} -l ${name.slice(2)} -d ${quoteFish(description)}`,
      ),
    ];
  });
  return `# weir completion fish\n${lines.join("\n")}\n`;
}
