// A page in Markdown of the AsyncAPI document, by AsyncAPI's generator. node page.mjs FILE DIRECTORY
import Generator from '@asyncapi/generator';

const [file, directory] = process.argv.slice(2);
const template = new URL('node_modules/@asyncapi/markdown-template', import.meta.url).pathname;
await new Generator(template, directory, { forceWrite: true }).generateFromFile(file);
