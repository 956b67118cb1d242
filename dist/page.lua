-- Links between the documents' sources become links between the pages; what is no page stays as text. Headings can be linked to, wide tables scroll.
local pages = {}
for name in (os.getenv 'PAGES'):gmatch '%S+' do
	local source, page = name:match '^(.*)=(.*)$'
	pages[source] = page
end
local folder = (os.getenv 'SOURCE'):match '^(.*/)' or ''

local function resolve(path)
	local parts = {}
	for part in (folder .. path):gmatch '[^/]+' do
		if part == '..' then table.remove(parts) elseif part ~= '.' then table.insert(parts, part) end
	end
	return table.concat(parts, '/')
end

function Link(link)
	if link.target:match '^%a+:' or link.target:match '^#' then return link end
	local path, anchor = link.target:match '^([^#]*)(.*)$'
	local page = pages[resolve(path)]
	if not page then return link.content end
	link.target = page .. anchor
	return link
end

function Header(header)
	if header.level == 1 then return header end
	header.content:insert(pandoc.Link({ pandoc.Str '¶' }, '#' .. header.identifier, '', { class = 'here', ['aria-label'] = 'Link to this section' }))
	return header
end

function Table(element)
	return pandoc.Div(element, { class = 'table' })
end

-- A list of the sections after the first heading of a long page.
function Pandoc(doc)
	local sections, first = pandoc.List(), nil
	for i, block in ipairs(doc.blocks) do
		if block.t == 'Header' and block.level == 1 and not first then first = i end
		if block.t == 'Header' and block.level == 2 then
			local title = block.content:clone()
			title:remove(#title)
			sections:insert { pandoc.Plain { pandoc.Link(title, '#' .. block.identifier) } }
		end
	end
	if first and #sections > 3 then
		doc.blocks:insert(first + 1, pandoc.RawBlock('html', '<nav aria-label="Sections">'))
		doc.blocks:insert(first + 2, pandoc.BulletList(sections))
		doc.blocks:insert(first + 3, pandoc.RawBlock('html', '</nav>'))
	end
	return doc
end
