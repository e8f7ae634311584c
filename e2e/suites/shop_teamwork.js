/**
 * The example shop in Chromium: two people at one document and at one board.
 */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { ShopStage, open } from '../harness/shop.js';

export function documentsAndBoards(database) {
  describe(`documents and boards, on ${database}`, () => {
    let stage;
    before(async () => {
      stage = await ShopStage.open(database);
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
      const comments = heard.filter((frame) => JSON.parse(frame).event === 'comment.added');
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

    test('whoever is taken out of a team loses its board at once, though their yes was remembered', async (t) => {
      const [ben, olive] = await Promise.all(['ben', 'olive'].map((name) => visit(t, name)));
      const remembered = async () => {
        await olive.goto('/operations/authorizations');
        return Number(await olive.locator('tr', { hasText: 'private-team.{id}' }).locator('td').first().innerText());
      };
      const before = await remembered();
      // He has been there already: the second time nobody is asked.
      await open(ben, '/teams/1');
      await open(ben, '/teams/1');
      assert.ok((await remembered()) > before, 'the answer was remembered');
      await olive.goto('/teams/1');
      await olive.getByRole('button', { name: 'Remove Ben Okafor' }).click();
      // His page is told, begins anew, and is refused long before a minute is over.
      await ben.locator('#board-refusal', { hasText: '403' }).waitFor();
      assert.equal(await ben.locator('[data-card]').count(), 0);
      await olive.getByLabel('Somebody else').selectOption('Ben Okafor');
      await olive.getByRole('button', { name: 'Add', exact: true }).click();
      await ben.locator('[data-card="1"]').waitFor();
    });
  });
}
