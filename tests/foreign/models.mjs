// Models of the AsyncAPI document in a language, by AsyncAPI's own generator. node models.mjs FILE DIRECTORY
import { readFileSync, writeFileSync } from 'node:fs';
import { Parser } from '@asyncapi/parser';
import { JavaGenerator } from '@asyncapi/modelina';

const [file, directory] = process.argv.slice(2);
const { document, diagnostics } = await new Parser().parse(readFileSync(file, 'utf8'));
for (const each of diagnostics) {
  if (each.severity === 0) console.error(`${each.path.join('.')}: ${each.message}`);
}
if (!document) process.exit(1);
const models = await new JavaGenerator({ collectionType: 'List' }).generateCompleteModels(document, {});
for (const model of models) writeFileSync(`${directory}/${model.modelName}.java`, model.result);
