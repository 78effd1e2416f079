// Reads the project's own sources for test/tidy.test.ts: files, code without comments and strings,
// imports.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'

export interface SourceFile {
  /** Path from the project's root, with `/`. */
  readonly path: string
  readonly text: string
  readonly lines: readonly string[]
}

export const root: string = join(import.meta.dirname, '..', '..')

export function sourceFiles(folder: string, extension = '.ts'): SourceFile[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(extension))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).split(sep).join('/'))
    .filter((path) => !path.includes('node_modules/'))
    .sort()
    .map((path) => fileFrom(path, readFileSync(join(root, path), 'utf8')))
}

export function fileFrom(path: string, text: string): SourceFile {
  return { path, text, lines: text.split('\n') }
}

const skipped =
  /\/\/[^\n]*|\/\*[\s\S]*?\*\/|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\[\s\S])*`/g

/** The code alone: comments and the insides of strings are blanked, line breaks kept. */
export function codeOf(text: string): string {
  return text.replace(skipped, (match) => {
    if (match.startsWith('/')) return match.replace(/[^\n]/g, ' ')
    // What stands in `${…}` is code; the rest of a template is text.
    if (match.startsWith('`')) return match.replace(/^[^$]*?(?=\$\{|`$)/, '`').replace(/\\./g, '')
    return match.slice(0, 1) + match.slice(-1)
  })
}

export interface Import {
  /** Path from the project's root for a relative import, else the specifier. */
  readonly target: string
  readonly typeOnly: boolean
}

const importPattern =
  /(?:^|\n)\s*(?:import|export)\s+(type\s)?(?:[^'";]*?\sfrom\s+)?'([^'\n]+)'|import\('([^'\n]+)'\)/g

export function importsOf(file: SourceFile): Import[] {
  const text = file.text.replace(/(^|\n)\s*\/\/[^\n]*/g, '$1')
  return [...text.matchAll(importPattern)].map((match) => {
    const specifier = match[2] ?? match[3] ?? ''
    const target = specifier.startsWith('.')
      ? join(dirname(file.path), specifier).split(sep).join('/')
      : specifier
    return { target, typeOnly: match[1] !== undefined }
  })
}
