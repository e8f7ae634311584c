/**
 * The example shop in Chromium: two people at one document and at one board.
 */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { ShopStage, open } from '../harness/shop.js';

describe('documents and boards', () => {
  let stage;
  before(async () => {
    stage = await ShopStage.open();
  });
  after(() => stage?.close());

  const visit = (t, name) => stage.visit(t, name);

  test('a comment shows at the other reader as it is written, and once at its author', async (t) => {
    const [ada, ben] = await Promise.all(['ada', 'ben'].map((name) => visit(t, name)));
    const heard = [];
    ben.on('websocket', (socket) => socket.on('framereceived', ({ payload }) => heard.push(String(payload))));
    await Promise.all([open(ada, '/documents/1'), open(ben, '/documents/1')]);
    await ben.getByLabel('Your comment').pressSequentially('The cov');
    await ada.locator('#typing', { hasText: 'Ben Okafor is typing' }).waitFor();
    assert.equal(await ben.locator('#typing').innerText(), '');
    await ben.getByLabel('Your comment').fill('The cover is right.');
    await ben.getByRole('button', { name: 'Comment' }).click();
    await ada.locator('#comments', { hasText: 'The cover is right.' }).waitFor();
    await ada.locator('#typing:empty').waitFor({ state: 'attached' });
    // A second comment, from the other side, comes to him after anything of his own would have.
    await ada.getByLabel('Your comment').fill('Then we print.');
    await ada.getByRole('button', { name: 'Comment' }).click();
    await ben.locator('#comments', { hasText: 'Then we print.' }).waitFor();
    assert.equal(await ben.locator('#comments li', { hasText: 'The cover is right.' }).count(), 1);
    const comments = heard.filter((frame) => frame.includes('comment.added'));
    assert.equal(comments.length, 1, 'of two comments only the other one came by the socket');
    assert.match(comments[0], /Then we print/);
  });

  test('two tabs of one reader are one reader', async (t) => {
    const [ada, ben] = await Promise.all(['ada', 'ben'].map((name) => visit(t, name)));
    await open(ada, '/documents/2');
    const second = await ada.context().newPage();
    await open(second, '/documents/2');
    await open(ben, '/documents/2');
    const here = (count) => ben.waitForFunction((wanted) => document.querySelectorAll('#here > li').length === wanted, count);
    await here(2);
    await second.close();
    await ada.goto('/orders');
    await here(1);
    assert.equal(await ben.locator('#here li').getAttribute('title'), 'Ben Okafor');
  });

  test('a card moves on both boards, and those who are not of the team are told why they see none', async (t) => {
    const [ada, ben, chloe] = await Promise.all(['ada', 'ben', 'chloe'].map((name) => visit(t, name)));
    await Promise.all([open(ada, '/teams/1'), open(ben, '/teams/1')]);
    await ben.locator('[data-card="2"]').getByRole('button', { name: 'Done' }).click();
    await ada.locator('[data-lane="done"] [data-card="2"]').waitFor();
    await chloe.goto('/teams/1');
    await chloe.locator('#board-refusal', { hasText: '403' }).waitFor();
    assert.equal(await chloe.locator('[data-card]').count(), 0);
  });
});
