import { itsOutages } from '../suites/shop_outages.js';

itsOutages('Postgres');
