// Every pack that the package exports, as a user meets it: found by its name, loaded, asked something that it should know.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { beex, installed, resolve } from './installed.mjs';

const { exports } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'));
const names = Object.keys(exports).filter((path) => path.startsWith('./packs/')).map((path) => path.slice('./packs/'.length));

// Texts that leave no doubt, and their labels as they are spelled in the data.
const KNOWN = {
  banking: ['i lost my card yesterday', 'lost_or_stolen_card'],
  clickbait: ['21 Things Only People With Curly Hair Will Understand', 'clickbait'],
  duplicates: [{ a: 'How can I lose weight fast?', b: 'What is the fastest way to lose weight?' }, 'duplicate'],
  emotion: ['i feel so happy and full of joy today', 'joy'],
  emotions: ['thank you so much, this made me really happy', 'joy'],
  intent: ['what is the weather like in berlin today', 'weather'],
  language: ['Das ist ein ganz normaler Satz in deutscher Sprache.', 'German'],
  question: ['Where is the Eiffel Tower ?', 'LOC'],
  reviews: ['A wonderful film with great acting. I loved every minute of it.', 'positive'],
  sentiment: ['a charming and wonderful film', 'positive'],
  sentiment_large: ['a charming and wonderful film', 'positive'],
  sentiment_small: ['a charming and wonderful film', 'positive'],
  spam: ['WINNER!! You have won a £1000 prize! Call 09061701461 now to claim.', 'spam'],
  topic: ['The striker scored twice as the team won the cup final on Saturday', 'Sports'],
  toxicity: ['you are a stupid idiot, shut up', 'toxic'],
};

test('there are packs for every example, and examples for every pack with classes', () => {
  assert.deepEqual(names.filter((name) => name !== 'base').sort(), Object.keys(KNOWN).sort());
});

for (const name of names) {
  test(`beex/packs/${name}`, async () => {
    const { default: url } = await import(pathToFileURL(resolve(`beex/packs/${name}`)));
    const classifier = await beex.load(readFileSync(url));
    const { metadata, task } = classifier.info;
    assert.equal(metadata.name, name);
    assert.ok(metadata.description && metadata.licence && metadata.data, 'a pack says what it is, whose data it knows, and under which licence');
    if (task === 'features') {
      const [one, like, unlike] = classifier.embed(['how do i reset my password', 'i forgot my login credentials', 'a terrific film']);
      const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
      assert.ok(dot(one, like) > dot(one, unlike) + 0.2);
      return;
    }
    const [text, label] = KNOWN[name];
    assert.equal(classifier.classify(text).label, label);
    assert.equal(classifier.classify(text, { exit: 'off' }).label, label);
    if (task === 'multi-label') assert.ok(classifier.classify(text).labels.includes(label));
    classifier.dispose();
  });
}
