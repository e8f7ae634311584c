import { theShop } from '../suites/shop.js';

theShop('Postgres');
